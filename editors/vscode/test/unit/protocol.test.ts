import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'vitest';

test('the types are those of docs/schema.json', () => {
  execFileSync(process.execPath, [
    join(import.meta.dirname, '../../scripts/generate-protocol.mjs'),
    '--check',
  ]);
});
