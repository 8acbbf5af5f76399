// Finds what looks like a file in a line of output: `src/main.rs:3:14`, `(12,3)`, `File "x", line 3`.
// Pure: the caller checks whether the file exists.

export interface FileLink {
  start: number;
  length: number;
  path: string;
  line: number | undefined;
  column: number | undefined;
}

const PYTHON = /File "([^"]+)", line (\d+)/g;
/** A path with a folder or an extension, optionally with a line and a column. */
const PLAIN =
  /(?<![\w@%+=:,./~-])((?:~\/|\.{1,2}\/|\/)?[\w@%+=.-]+(?:\/[\w@%+=.[\]-]+)*)(?::(\d+)(?::(\d+))?|\((\d+)(?:,\s?(\d+))?\))?/g;

export function fileLinks(text: string): FileLink[] {
  const links: FileLink[] = [];
  for (const match of text.matchAll(PYTHON)) {
    links.push({
      start: match.index,
      length: match[0].length,
      path: match[1] ?? '',
      line: number(match[2]),
      column: undefined,
    });
  }
  for (const match of text.matchAll(PLAIN)) {
    const path = (match[1] ?? '').replace(/[.,]+$/, '');
    const place = match[2] ?? match[4];
    // A word alone is not a path; nor is a version number.
    if (!path.includes('/') && !(/\.[A-Za-z]\w*$/.test(path) && path.length > 2)) continue;
    if (!/\w/.test(path) || /^\/\//.test(path)) continue;
    const start = match.index;
    if (links.some((link) => start < link.start + link.length && start >= link.start)) continue;
    links.push({
      start,
      length: place === undefined ? path.length : match[0].length,
      path,
      line: number(place),
      column: number(match[3] ?? match[5]),
    });
  }
  return links.sort((a, b) => a.start - b.start);
}

function number(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}
