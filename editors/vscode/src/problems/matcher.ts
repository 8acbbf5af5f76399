// Problem matchers of VS Code's tasks, applied to existing text. VS Code does not export its engine, so
// this implements the documented part: patterns of one line or several, the last of which may loop.
// Pure.

/** One line of a pattern, as `problemPatterns` in a package.json has it. */
export interface PatternLine {
  regexp: string;
  kind?: 'file' | 'location';
  file?: number;
  location?: number;
  line?: number;
  column?: number;
  endLine?: number;
  endColumn?: number;
  severity?: number;
  code?: number;
  message?: number;
  loop?: boolean;
}

export interface Matcher {
  owner: string;
  source: string | undefined;
  severity: Severity | undefined;
  patterns: PatternLine[];
  /** How a file name is resolved: as absolute, against a folder, or whichever exists. */
  location: 'absolute' | 'relative' | 'autoDetect';
  /** The folder, if the matcher names one; may contain `${workspaceFolder}` and `${cwd}`. */
  base: string | undefined;
}

export type Severity = 'error' | 'warning' | 'info';

export interface Problem {
  file: string;
  line: number;
  column: number | undefined;
  endLine: number | undefined;
  endColumn: number | undefined;
  severity: Severity;
  code: string | undefined;
  message: string;
}

/** How many problems are found at most; a person would not read more. */
export const PROBLEMS_MAX = 2_000;

export function findProblems(text: string, matcher: Matcher): Problem[] {
  const patterns = matcher.patterns.map((line) => ({ ...line, regex: new RegExp(line.regexp) }));
  const lines = text.split('\n');
  const problems: Problem[] = [];
  let at = 0;
  while (at < lines.length && problems.length < PROBLEMS_MAX) {
    const found: Captured = {};
    let next = at;
    let matched = patterns.length > 0;
    for (const [index, pattern] of patterns.entries()) {
      const match = pattern.regex.exec(lines[next] ?? '\u0000');
      if (!match || next >= lines.length) {
        matched = false;
        break;
      }
      capture(found, pattern, match);
      next++;
      if (index === patterns.length - 1 && pattern.loop) {
        add(problems, found, matcher);
        for (; next < lines.length; next++) {
          const again = pattern.regex.exec(lines[next] ?? '');
          if (!again) break;
          const more = { ...found };
          capture(more, pattern, again);
          add(problems, more, matcher);
        }
        found.message = undefined;
      }
    }
    if (matched) add(problems, found, matcher);
    at = matched ? next : at + 1;
  }
  return problems;
}

type Captured = {
  [key in 'file' | 'line' | 'column' | 'endLine' | 'endColumn' | 'severity' | 'code' | 'message']?:
    | string
    | undefined;
};

function capture(found: Captured, pattern: PatternLine, match: RegExpExecArray): void {
  const group = (index: number | undefined) => (index === undefined ? undefined : match[index]);
  const place = group(pattern.location)?.split(/[,:]/) ?? [];
  const taken: Captured = {
    file: group(pattern.file)?.trim(),
    line: group(pattern.line) ?? place[0],
    column: group(pattern.column) ?? (place.length > 1 ? place[1] : undefined),
    endLine: group(pattern.endLine) ?? (place.length === 4 ? place[2] : undefined),
    endColumn: group(pattern.endColumn) ?? (place.length === 4 ? place[3] : undefined),
    severity: group(pattern.severity),
    code: group(pattern.code),
    message: group(pattern.message)?.trim(),
  };
  for (const [key, value] of Object.entries(taken)) {
    if (value !== undefined) found[key as keyof Captured] = value;
  }
  if (pattern.kind === 'file') found.line ??= '1';
}

function add(problems: Problem[], found: Captured, matcher: Matcher): void {
  const line = Number(found.line);
  if (!found.file || !Number.isInteger(line) || found.message === undefined) return;
  const number = (text: string | undefined) => (text === undefined ? undefined : Number(text));
  problems.push({
    file: found.file,
    line: Math.max(1, line),
    column: number(found.column),
    endLine: number(found.endLine),
    endColumn: number(found.endColumn),
    severity: severityOf(found.severity) ?? matcher.severity ?? 'error',
    code: found.code,
    message: found.message,
  });
}

const SEVERITIES: { [word: string]: Severity | undefined } = Object.fromEntries([
  ...['error', 'fatal', 'fatal error', 'e'].map((word) => [word, 'error']),
  ...['warning', 'warn', 'w'].map((word) => [word, 'warning']),
  ...['info', 'note', 'hint', 'i'].map((word) => [word, 'info']),
]);

export function severityOf(word: string | undefined): Severity | undefined {
  return SEVERITIES[word?.toLowerCase() ?? ''];
}

/** The relevant part of a package.json's `contributes`. */
export interface Contributions {
  problemMatchers?: ContributedMatcher[];
  problemPatterns?: ContributedPattern[];
}

interface ContributedMatcher {
  name?: string;
  base?: string;
  owner?: string;
  source?: string;
  severity?: string;
  fileLocation?: string | (string | object)[];
  pattern?: string | PatternLine | PatternLine[];
}

type ContributedPattern = PatternLine & { name?: string; patterns?: PatternLine[] };

/** The matchers that installed extensions contribute, by name, without invalid ones. */
export function contributedMatchers(all: Contributions[]): Map<string, Matcher> {
  const patterns = new Map<string, PatternLine[]>();
  for (const pattern of all.flatMap((one) => list(one.problemPatterns))) {
    if (pattern.name) patterns.set(pattern.name, pattern.patterns ?? [pattern]);
  }
  const matchers = new Map<string, Matcher>();
  for (const matcher of all.flatMap((one) => list(one.problemMatchers))) {
    const named = typeof matcher.pattern === 'string' ? matcher.pattern : undefined;
    const base = matcher.base ? matchers.get(matcher.base.replace(/^\$/, '')) : undefined;
    const lines =
      named !== undefined
        ? patterns.get(named.replace(/^\$/, ''))
        : matcher.pattern === undefined
          ? base?.patterns
          : ([matcher.pattern].flat() as PatternLine[]);
    if (!matcher.name || !lines?.every(readable)) continue;
    const [kind, folder] = [matcher.fileLocation ?? base?.location ?? 'relative'].flat();
    matchers.set(matcher.name, {
      owner: matcher.owner ?? base?.owner ?? matcher.name,
      source: matcher.source ?? base?.source,
      severity: severityOf(matcher.severity) ?? base?.severity,
      patterns: lines,
      location: kind === 'absolute' || kind === 'autoDetect' ? kind : 'relative',
      base: typeof folder === 'string' ? folder : base?.base,
    });
  }
  return matchers;
}

function list<T>(value: T[] | undefined): T[] {
  return Array.isArray(value) ? value : [];
}

function readable(line: PatternLine): boolean {
  try {
    new RegExp(line.regexp);
    return typeof line.regexp === 'string';
  } catch {
    return false;
  }
}
