/**
 * The families of tasks: what is asked in which words, what is there before, what must hold after, and the calls that
 * get there. Every family takes its words from outside, so that held-out ones are the same tasks about other things.
 * @module
 */
import type { Words } from "./words.ts";

/** A call of the filesystem server. */
interface Call {
  tool: string;
  arguments: Record<string, string>;
}

/** A task without its id and split. */
export interface Task {
  task: string;
  setup: { files: Record<string, string>; directories: string[] };
  checks: ({ file: string; equals: string } | { absent: string } | { directory: string })[];
  calls: Call[];
}

/** Chooses without repeating within one task. */
export interface Draw {
  pick<T>(from: readonly T[]): T;
  word(kind: "files" | "folders" | "contents"): string;
  words: Words;
}

/** Makes a task; `wording` counts through the phrasings of this side. */
export type Family = (draw: Draw, side: "seen" | "unseen", wording: number) => Task;

const write = (path: string, content: string): Call => ({ tool: "write_file", arguments: { path, content } });
const read = (path: string): Call => ({ tool: "read_text_file", arguments: { path } });
const folder = (path: string): Call => ({ tool: "create_directory", arguments: { path } });
const move = (source: string, destination: string): Call => ({ tool: "move_file", arguments: { source, destination } });

/** The phrasing whose turn it is; held-out has its own. */
function phrase(phrasings: { seen: string[]; unseen: string[] }, side: "seen" | "unseen", wording: number): string {
  const own = phrasings[side];
  return own[wording % own.length]!;
}

/** Replaces `{f}` by `"river"`: names are quoted, so that they are the tokens that a call needs. */
function say(text: string, names: Record<string, string>): string {
  return text.replace(/\{(\w)\}/g, (_, key: string) => JSON.stringify(names[key]));
}

function setup(files: Record<string, string>, directories: string[] = []): Task["setup"] {
  return { files, directories };
}

/** The families that all splits have. */
export const families: Record<string, Family> = {
  write: (draw, side, wording) => {
    const [f, w] = [draw.word("files"), draw.word("contents")];
    const text = phrase(
      {
        seen: [
          "Write {w} to the file {f}.",
          "Create the file {f} with the text {w}.",
          "Put the word {w} into {f}.",
          "Make a file {f} that says {w}.",
          "Save {w} as {f}.",
          "The new file {f} should contain {w}.",
          "Add a file {f} with the text {w}.",
          "Store {w} in the file {f}.",
          "Please write the text {w} into a file called {f}.",
          "I want a file {f} with {w} inside.",
          "{f} is a new file. It says {w}.",
          "The text {w} goes in the file {f}.",
          "Write {w}. The name of the file is {f}.",
          "Make {f}, a text file that says {w}.",
          "A file called {f} should hold the word {w}.",
          "Write down {w} in {f}.",
        ],
        unseen: [
          "Create {f}, a file with the text {w}.",
          "Store the text {w} in a file named {f}.",
          "Write a new file {f} that has {w} in it.",
        ],
      },
      side,
      wording,
    );
    return { task: say(text, { f, w }), setup: setup({}), checks: [{ file: f, equals: w }], calls: [write(f, w)] };
  },
  folder: (draw, side, wording) => {
    const d = draw.word("folders");
    const text = phrase(
      {
        seen: [
          "Make a folder {d}.",
          "Create the directory {d}.",
          "I need a folder called {d}.",
          "Add a new folder: {d}.",
          "Create a folder named {d}.",
          "Please make the directory {d}.",
          "The folder {d} is missing. Make it.",
          "A new directory {d}, please.",
          "Set up the directory {d}.",
          "We want a folder with the name {d}.",
          "Make an empty folder called {d}.",
          "Create {d} as a folder.",
          "There should be a folder {d}.",
          "{d} is a new folder. Make it.",
          "Build a folder {d}.",
          "Start a new folder called {d}.",
        ],
        unseen: ["Set up a folder named {d}.", "Make me an empty directory {d}.", "We need the folder {d}, create it."],
      },
      side,
      wording,
    );
    return { task: say(text, { d }), setup: setup({}), checks: [{ directory: d }], calls: [folder(d)] };
  },
  rename: (draw, side, wording) => {
    const [f, g, w] = [draw.word("files"), draw.word("files"), draw.word("contents")];
    const text = phrase(
      {
        seen: [
          "Rename {f} to {g}.",
          "Change the name of {f} to {g}.",
          "The file {f} should be called {g}.",
          "Use {g} as the new name for {f}.",
          "Rename the file {f} as {g}.",
          "Give {f} the new name {g}.",
          "The name {f} is wrong. Call it {g}.",
          "The file {f} gets the name {g}.",
          "{f} is now called {g}.",
          "The new name of {f} is {g}.",
          "Name the file {f} {g}.",
          "Instead of {f}, the file should be named {g}.",
          "Call {f} {g}.",
          "Make {g} the name of the file {f}.",
          "The file {f} has a new name: {g}.",
          "Please rename {f}. Call it {g}.",
        ],
        unseen: [
          "From now on the file {f} is named {g}.",
          "Call the file {f} {g} instead.",
          "Rename {f}, its new name is {g}.",
        ],
      },
      side,
      wording,
    );
    return {
      task: say(text, { f, g }),
      setup: setup({ [f]: w }),
      checks: [{ absent: f }, { file: g, equals: w }],
      calls: [move(f, g)],
    };
  },
  move: (draw, side, wording) => {
    const [f, d, w] = [draw.word("files"), draw.word("folders"), draw.word("contents")];
    const text = phrase(
      {
        seen: [
          "Move {f} into the folder {d}.",
          "Put the file {f} in folder {d}.",
          "The file {f} belongs in the folder {d}.",
          "The folder {d} should hold {f}.",
          "Move the file {f} to the directory {d}.",
          "Bring {f} into the folder {d}.",
          "Place {f} in the directory {d}.",
          "In the folder {d} I want {f}.",
          "{f} should be in the folder {d}.",
          "The file {f} goes to {d}, which is a folder.",
          "Take the file {f} to the folder {d}.",
          "Move {f}. It goes into {d}.",
          "{d} is a folder. Move {f} into it.",
          "Please put {f} in the directory {d}.",
          "The right place for {f} is the folder {d}.",
          "Get {f} into the folder {d}.",
        ],
        unseen: [
          "{f} goes in the folder {d}.",
          "Take {f} and place it in the folder {d}.",
          "Please move {f} to folder {d}.",
        ],
      },
      side,
      wording,
    );
    return {
      task: say(text, { f, d }),
      setup: setup({ [f]: w }, [d]),
      checks: [{ absent: f }, { file: `${d}/${f}`, equals: w }],
      calls: [move(f, `${d}/${f}`)],
    };
  },
  pick: (draw, side, wording) => {
    const [x, y] = [draw.word("folders"), draw.word("folders")];
    const phrasings: Record<typeof side, [string, string][]> = {
      seen: [
        ["Make the folder {x} or {y}, but not {x}.", y],
        ["Make the folder {x} or {y}, but not {y}.", x],
        ["Make only the first of these folders: {x}, {y}.", x],
        ["Make only the last of these folders: {x}, {y}.", y],
        ["Not {x}: make the folder {y}.", y],
        ["Make the folder {x}, not {y}.", x],
        ["Of the folders {x} and {y}, make the first.", x],
        ["Of the folders {x} and {y}, make the last.", y],
        ["We need {x} or {y} as a folder, but {x} is not wanted. Make the other one.", y],
        ["We need {x} or {y} as a folder, but {y} is not wanted. Make the other one.", x],
        ["I asked for the folders {x} and {y}. Now leave out {y}.", x],
        ["I asked for the folders {x} and {y}. Now leave out {x}.", y],
        ["From the list {x}, {y} make only the last folder.", y],
        ["From the list {x}, {y} make only the first folder.", x],
        ["Do not make the folder {y}. Make {x} instead.", x],
        ["Do not make the folder {x}. Make {y} instead.", y],
      ],
      unseen: [
        ["Folders {x} and {y} were planned, but not {x} any more. Make the other.", y],
        ["Folders {x} and {y} were planned, but not {y} any more. Make the other.", x],
        ["Create just the last one of the folders {x}, {y}.", y],
        ["Create just the first one of the folders {x}, {y}.", x],
      ],
    };
    const [text, wanted] = phrasings[side][wording % phrasings[side].length]!;
    return {
      task: say(text, { x, y }),
      setup: setup({}),
      checks: [{ directory: wanted }, { absent: wanted === x ? y : x }],
      calls: [folder(wanted)],
    };
  },
  copy: (draw, side, wording) => {
    const [f, g, w] = [draw.word("files"), draw.word("files"), draw.word("contents")];
    const text = phrase(
      {
        seen: [
          "Copy the word in {f} to a new file {g}.",
          "Read {f} and write the same word to {g}.",
          "Make {g} a copy of {f}.",
          "The file {g} should say what {f} says.",
          "Copy {f} to {g}.",
          "Write what {f} says into {g}.",
          "Read {f}, then save its word as {g}.",
          "Put the text of {f} into {g}.",
          "Write a copy of {f} with the name {g}.",
          "The text of {f} should also be in {g}.",
          "Take the text in {f} and write it to {g}.",
          "Make a second file {g} with the same text as {f}.",
          "I want a copy of {f}. Call it {g}.",
          "{g} should have the same text as {f}.",
          "Find out what {f} says, and write it to {g}.",
          "Save the text of {f} in the new file {g}.",
          "Duplicate the file {f} as {g}.",
        ],
        unseen: [
          "Read what {f} says and write that to {g}.",
          "Save a copy of {f} as {g}.",
          "Write the text of {f} to a file {g}.",
        ],
      },
      side,
      wording,
    );
    return {
      task: say(text, { f, g }),
      setup: setup({ [f]: w }),
      checks: [{ file: f, equals: w }, { file: g, equals: w }],
      calls: [read(f), write(g, w)],
    };
  },
  flag: (draw, side, wording) => {
    const [f, x, y] = [draw.word("files"), draw.word("folders"), draw.word("folders")];
    const [p, q] = draw.pick(draw.words.flags);
    const says = draw.pick([p, q]);
    const text = phrase(
      {
        seen: [
          "Read {f}. If it says {p}, make folder {x}. If it says {q}, make folder {y}.",
          "If {f} says {p}, create the folder {x}; if it says {q}, {y}.",
          "Look at {f}: for {p} make the folder {x}, for {q} the folder {y}.",
          "Read {f} first. Make folder {x} for {p}, folder {y} for {q}.",
          "The file {f} says {p} or {q}. For {p} make the folder {x}, for {q} make {y}.",
          "Open {f}: {p} means make folder {x}, {q} means make folder {y}.",
          "See {f}. When it says {p}, make the folder {x}; when {q}, the folder {y}.",
          "Make the folder {x} if {f} says {p}. Make the folder {y} if it says {q}.",
          "What does {f} say? If {p}, make folder {x}. If {q}, make folder {y}.",
          "{f} decides: {p} is for the folder {x}, {q} for the folder {y}. Make the right one.",
          "Make one folder: {x} if the file {f} says {p}, {y} if it says {q}.",
          "Find out what is in {f}. On {p} create {x}, on {q} create {y}.",
        ],
        unseen: [
          "See what {f} says: make folder {x} if {p}, folder {y} if {q}.",
          "Check {f} and make the folder {x} when it is {p}, {y} when it is {q}.",
        ],
      },
      side,
      wording,
    );
    const [wanted, other] = says === p ? [x, y] : [y, x];
    return {
      task: say(text, { f, p, q, x, y }),
      setup: setup({ [f]: says }),
      checks: [{ directory: wanted }, { absent: other }],
      calls: [read(f), folder(wanted)],
    };
  },
};

/** Combinations of known steps that only held-out scenarios have. */
export const combinations: Record<string, Family> = {
  name: (draw, _side, wording) => {
    const [f, w] = [draw.word("files"), draw.word("folders")];
    const text = ["Read {f} and make a folder named by the word in it.", "Make a folder whose name stands in {f}."];
    return {
      task: say(text[wording % text.length]!, { f }),
      setup: setup({ [f]: w }),
      checks: [{ directory: w }],
      calls: [read(f), folder(w)],
    };
  },
};
