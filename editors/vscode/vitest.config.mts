import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// There is no editor in a unit test: what stands for it has what the tests need, and no more.
const editor = fileURLToPath(new URL('./test/unit/editor.ts', import.meta.url));

export default defineConfig({
  test: { testTimeout: 60_000, include: ['test/unit/**/*.test.ts'] },
  resolve: { alias: { vscode: editor, 'vscode-languageclient/node': editor } },
});
