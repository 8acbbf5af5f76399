// Bundles the extension and its webview into dist/. `--tests` also bundles the tests that run
// inside the extension host, into out/.
import { build } from 'esbuild';

const minify = process.argv.includes('--minify');
const common = { bundle: true, minify, sourcemap: minify ? false : 'inline', logLevel: 'warning' };

await build({
  ...common,
  entryPoints: ['src/extension.ts'],
  outfile: 'dist/extension.js',
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  external: ['vscode'],
});
if (process.argv.includes('--tests')) {
  await build({
    ...common,
    entryPoints: ['test/host/index.ts'],
    outfile: 'out/host.js',
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: ['vscode'],
  });
}
