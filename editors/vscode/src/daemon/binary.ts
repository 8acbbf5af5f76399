// Finds the meanwhile program: the setting, then the one that comes with the extension, then PATH.
// Owns the error messages for everything that can be wrong with the program. Does not use VS Code, so
// that unit tests can cover each case.

import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';

/** Where the program was found. */
export type Origin = 'setting' | 'bundled' | 'path';

export interface Binary {
  path: string;
  version: string;
  origin: Origin;
}

export interface Places {
  /** `meanwhile.path`, or empty. */
  setting: string;
  /** The program inside the extension; it need not exist. */
  bundled: string;
  path: string;
  home: string;
  /** The folder that a relative setting is resolved against. */
  folder: string;
}

/** No program can be used. The message names the setting and the fix. */
export class BinaryProblem extends Error {}

/** The oldest version whose protocol this client speaks. */
const OLDEST = [0, 1];

/** How long a program may take to print its version. */
const VERSION_TIMEOUT_MS = 10_000;

/** Asks a program for its version; the error says briefly why that failed. */
export type Probe = (path: string) => Promise<string>;

export async function locate(places: Places, probe: Probe = askVersion): Promise<Binary> {
  if (places.setting !== '') {
    const path = resolve(places.setting, places);
    const mend =
      'Correct the setting, or clear it to use the program that comes with the extension.';
    if (!(await isExecutable(path))) {
      throw new BinaryProblem(
        `The setting meanwhile.path names ${path}, which is not a program that can be run. ${mend}`,
      );
    }
    return checked(path, 'setting', probe, `The setting meanwhile.path names it. ${mend}`);
  }
  let reason = 'none comes with this build of the extension';
  if (await isExecutable(places.bundled)) {
    try {
      return await checked(places.bundled, 'bundled', probe, '');
    } catch (error) {
      reason = `the one that comes with the extension cannot be used: ${(error as Error).message.trim()}`;
    }
  }
  for (const dir of places.path.split(delimiter)) {
    const path = join(dir, 'meanwhile');
    if (isAbsolute(dir) && (await isExecutable(path))) {
      return checked(
        path,
        'path',
        probe,
        'It was found on PATH. Update it, or set meanwhile.path to another.',
      );
    }
  }
  throw new BinaryProblem(
    `The meanwhile program was not found (${reason}; none on PATH). Install it, or set meanwhile.path to where it is.`,
  );
}

async function checked(path: string, origin: Origin, probe: Probe, mend: string): Promise<Binary> {
  let version: string;
  try {
    version = await probe(path);
  } catch (error) {
    throw new BinaryProblem(
      `${path} did not report its version (${(error as Error).message}). ${mend}`,
    );
  }
  const numbers = /^(\d+)\.(\d+)\./.exec(version);
  const [major, minor] = [Number(numbers?.[1]), Number(numbers?.[2])];
  const [oldMajor = 0, oldMinor = 0] = OLDEST;
  if (!numbers || major < oldMajor || (major === oldMajor && minor < oldMinor)) {
    throw new BinaryProblem(
      `${path} is version ${version}; this extension needs ${OLDEST.join('.')} or newer. ${mend}`,
    );
  }
  return { path, version, origin };
}

function resolve(setting: string, places: Places): string {
  if (setting.startsWith('~/')) return join(places.home, setting.slice(2));
  return isAbsolute(setting) ? setting : join(places.folder, setting);
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs `PATH --version`, which prints `meanwhile 0.1.0`. */
export function askVersion(path: string): Promise<string> {
  return new Promise((done, fail) => {
    execFile(
      path,
      ['--version'],
      { timeout: VERSION_TIMEOUT_MS, cwd: '/', maxBuffer: 64 * 1024 },
      (error, stdout) => {
        const version = /^meanwhile (\S+)/.exec(stdout)?.[1];
        if (version !== undefined) done(version);
        else if (error?.killed) fail(new Error(`no answer in ${VERSION_TIMEOUT_MS / 1000} s`));
        else if (error) fail(new Error((error.message.split('\n')[0] ?? '').slice(0, 200)));
        else fail(new Error('it is another program'));
      },
    ).stdin?.end();
  });
}

/** Where the program was found, for the log and the status bar. */
export function originInWords(binary: Binary): string {
  switch (binary.origin) {
    case 'setting':
      return 'set by meanwhile.path';
    case 'bundled':
      return 'comes with the extension';
    case 'path':
      return 'found on PATH';
  }
}
