// Builds meanwhile-linux-x64.vsix with the program inside: the one that MEANWHILE_BIN names, or else the
// release build of this checkout, or else its debug build.
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const extension = join(dirname(fileURLToPath(import.meta.url)), '..');
const target = process.env.CARGO_TARGET_DIR ?? join(extension, '../../target');
const programs = [
  process.env.MEANWHILE_BIN,
  join(target, 'release/meanwhile'),
  join(target, 'debug/meanwhile'),
];
const program = programs.find((path) => path && existsSync(path));
if (!program) {
  console.error(
    'no meanwhile program: build it with `cargo build --release`, or set MEANWHILE_BIN',
  );
  process.exit(1);
}
process.chdir(extension);
mkdirSync('bin', { recursive: true });
copyFileSync(program, 'bin/meanwhile');
chmodSync('bin/meanwhile', 0o755);
execFileSync(process.execPath, ['scripts/build.mjs', '--minify'], { stdio: 'inherit' });
const out = process.argv[2] ?? 'meanwhile-linux-x64.vsix';
execFileSync(
  process.execPath,
  [
    'node_modules/@vscode/vsce/vsce',
    'package',
    '--no-dependencies',
    '--target',
    'linux-x64',
    '--allow-missing-repository',
    '--skip-license',
    '--no-rewrite-relative-links',
    '--out',
    out,
  ],
  { stdio: ['ignore', 'ignore', 'inherit'] },
);
console.log(`${out} with ${program}`);
