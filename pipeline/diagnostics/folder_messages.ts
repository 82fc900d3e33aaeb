/** Messages about folders that servers write to. @module */
import { quote, say } from "./diagnostic.ts";

/** Problems of a rollout's folders. */
export const folders = {
  replaced: (path: string) =>
    say(
      "FOLDER_REPLACED",
      `Folder ${quote(path)} is not the one that hone made: a server removed or replaced it`,
      "expected: a server changes only what is below the folder",
    ),
  not_a_folder: (path: string) =>
    say(
      "NOT_A_FOLDER",
      `Cannot use ${quote(path)} as a folder: it is a symbolic link or a file, which hone does not follow`,
    ),
  bad_name: (name: string) =>
    say(
      "BAD_NAME",
      `Cannot use ${quote(name)} as the name of a file: expected a name without "/" that is not "." or ".."`,
    ),
  not_emptied: (path: string) =>
    say("FOLDER_NOT_EMPTIED", `Cannot empty folder ${quote(path)}: a server keeps writing to it`),
  too_deep: (path: string, limit: number) =>
    say("FOLDER_TOO_DEEP", `Cannot list folder ${quote(path)}: its folders are nested more than ${limit} deep`),
  too_large: (path: string, limit: string) =>
    say("FOLDER_TOO_LARGE", `Cannot read folder ${quote(path)}: its files have more than ${limit} in all`),
  no_fixture: (path: string, base_dir: string) =>
    say(
      "NO_SUCH_FOLDER",
      `Cannot copy the fixture ${quote(path)}: expected a folder in that of the pipeline, ${quote(base_dir)}`,
    ),
  odd_fixture: (path: string) =>
    say(
      "ODD_FIXTURE",
      `Cannot copy fixture ${
        quote(path)
      }: expected a file, a folder or a symbolic link, found a pipe, socket or device`,
    ),
};
