import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { askVersion, BinaryProblem, locate } from '../../src/daemon/binary';

let root = '';

/** A program that prints a line, whatever it is asked. */
async function program(path: string, says: string): Promise<string> {
  const file = join(root, path);
  await mkdir(join(file, '..'), { recursive: true });
  await writeFile(file, `#!/bin/sh\necho '${says}'\n`);
  await chmod(file, 0o755);
  return file;
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'meanwhile-binary-'));
  await program('bundled/meanwhile', 'meanwhile 0.3.0');
  await program('path/meanwhile', 'meanwhile 1.2.3');
  await program('home/mine', 'meanwhile 0.1.0');
  await program('old', 'meanwhile 0.0.9');
  await program('other', 'something else');
  await writeFile(join(root, 'text'), 'no program');
});
afterAll(() => rm(root, { recursive: true }));

const places = (change: Partial<Parameters<typeof locate>[0]> = {}) => ({
  setting: '',
  bundled: join(root, 'bundled/meanwhile'),
  path: `relative:${join(root, 'nowhere')}:${join(root, 'path')}`,
  home: join(root, 'home'),
  folder: root,
  ...change,
});

const found = async (change: Parameters<typeof places>[0]) => {
  const { path, version, origin } = await locate(places(change));
  return [path.replace(`${root}/`, ''), version, origin];
};

test('the setting, then the bundled one, then PATH', async () => {
  expect(await found({ setting: join(root, 'home/mine') })).toEqual([
    'home/mine',
    '0.1.0',
    'setting',
  ]);
  expect(await found({ setting: '~/mine' })).toEqual(['home/mine', '0.1.0', 'setting']);
  expect(await found({ setting: 'home/mine' })).toEqual(['home/mine', '0.1.0', 'setting']);
  expect(await found({})).toEqual(['bundled/meanwhile', '0.3.0', 'bundled']);
  expect(await found({ bundled: join(root, 'none') })).toEqual(['path/meanwhile', '1.2.3', 'path']);
  expect(await found({ bundled: join(root, 'text') })).toEqual(['path/meanwhile', '1.2.3', 'path']);
  expect(await found({ bundled: join(root, 'other') })).toEqual([
    'path/meanwhile',
    '1.2.3',
    'path',
  ]);
});

test.each([
  [
    'a setting that names nothing',
    { setting: '/none' },
    /meanwhile\.path names \/none, which is not.*clear it/,
  ],
  ['one that names a text', { setting: 'text' }, /meanwhile\.path names .*text, which is not/],
  [
    'another program',
    { setting: 'other' },
    /did not report its version \(it is another program\).*meanwhile\.path/,
  ],
  [
    'an old one',
    { setting: 'old' },
    /version 0\.0\.9; this extension needs 0\.1 or newer.*meanwhile\.path/,
  ],
  ['none at all', { bundled: '/none', path: '' }, /not found.*none on PATH.*set meanwhile\.path/],
])('%s is told with the setting and the fix', async (_, change, words) => {
  const problem = await locate(places(change)).catch((error) => error);
  expect(problem).toBeInstanceOf(BinaryProblem);
  expect(problem.message).toMatch(words);
});

test('a program that fails has its first line told', async () => {
  await expect(askVersion('/bin/false')).rejects.toThrow(/Command failed/);
});
