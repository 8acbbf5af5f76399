// Bundles the extension and its webview into dist/. `--tests` also bundles the tests that run
// inside the extension host, into out/.
import { copyFile } from 'node:fs/promises';
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
await build({
  ...common,
  entryPoints: { panel: 'webview/main.ts' },
  outdir: 'dist',
  platform: 'browser',
  target: 'es2022',
  format: 'iife',
});
const codicons = 'node_modules/@vscode/codicons/dist';
await Promise.all([
  copyFile('webview/panel.css', 'dist/panel.css'),
  copyFile(`${codicons}/codicon.css`, 'dist/codicon.css'),
  copyFile(`${codicons}/codicon.ttf`, 'dist/codicon.ttf'),
]);
if (process.argv.includes('--tests')) {
  await build({
    ...common,
    entryPoints: { host: 'test/host/index.ts', several: 'test/host/multi/index.ts' },
    outdir: 'out',
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: ['vscode'],
  });
}
