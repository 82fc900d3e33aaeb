/** Opens a file in the desktop's browser. @module */

/** Resolves to null if the file was opened, otherwise to a message with its path. */
export async function openInBrowser(file: string): Promise<string | null> {
  const [command, ...args] = { darwin: ["open"], windows: ["explorer"] }[Deno.build.os as string] ?? ["xdg-open"];
  try {
    const { success } = await new Deno.Command(command!, { args: [...args, file], stdout: "null", stderr: "null" })
      .output();
    return success ? null : `could not open a browser: the report is ${file}`;
  } catch {
    return `could not open a browser (${command} is missing): the report is ${file}`;
  }
}
