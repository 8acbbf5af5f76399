import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { contributedMatchers, findProblems } from '../../src/problems/matcher';

const { contributes } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'),
);
const own = contributedMatchers([contributes]);

function found(name: string, text: string): string[] {
  const matcher = own.get(name);
  if (!matcher) throw new Error(`no matcher ${name}`);
  return findProblems(text, matcher).map(
    ({ file, line, column, severity, message, code }) =>
      `${file}:${line}:${column ?? '-'} ${severity} ${message}${code ? ` [${code}]` : ''}`,
  );
}

test('rustc and cargo', () => {
  const text = `   Compiling x v0.1.0
warning: unused variable: \`a\`
  --> src/lib.rs:2:9
   |
error[E0308]: mismatched types
 --> src/main.rs:7:5
error: could not compile \`x\`
`;
  expect(found('meanwhile-rust', text)).toEqual([
    'src/lib.rs:2:9 warning unused variable: `a`',
    'src/main.rs:7:5 error mismatched types [E0308]',
  ]);
});

test('gcc and clang', () => {
  expect(
    found('meanwhile-gcc', 'a.c:3:7: warning: unused [-Wunused]\nb.c:4: error: no\nmake: *** x'),
  ).toEqual(['a.c:3:7 warning unused [-Wunused]', 'b.c:4:- error no']);
});

test('eslint loops over the lines of one file', () => {
  const text = `
/w/a.js
  1:2  error    'x' is not defined  no-undef
  3:4  warning  Unexpected console  no-console

/w/b.js
  5:6  error  Parsing

`;
  expect(found('meanwhile-eslint', text)).toEqual([
    "/w/a.js:1:2 error 'x' is not defined [no-undef]",
    '/w/a.js:3:4 warning Unexpected console [no-console]',
    '/w/b.js:5:6 error Parsing',
  ]);
});

test('go, and panics of Rust', () => {
  expect(found('meanwhile-go', './x.go:3:4: undefined: y\n    x_test.go:9: wrong')).toEqual([
    './x.go:3:4 error undefined: y',
    'x_test.go:9:- error wrong',
  ]);
  expect(found('meanwhile-rust-panic', "thread 'main' panicked at src/main.rs:2:5:\nboom")).toEqual(
    ['src/main.rs:2:5 error boom'],
  );
});

test('matchers of other extensions: inline patterns, bases, and what cannot be read', () => {
  const all = contributedMatchers([
    {
      problemPatterns: [
        {
          name: 'p',
          regexp: '^(.*)\\((\\d+,\\d+)\\): (\\w+) (.*)$',
          file: 1,
          location: 2,
          severity: 3,
          message: 4,
        },
      ],
      problemMatchers: [
        { name: 'ms', owner: 'ms', pattern: '$p', fileLocation: 'absolute' },
        { name: 'child', base: '$ms', severity: 'info' },
        {
          name: 'inline',
          pattern: [{ regexp: '^!(.*):(.*)$', file: 1, message: 2, kind: 'file' }],
        },
        { name: 'broken', pattern: { regexp: '(' } },
        { name: 'unknown', pattern: '$nowhere' },
      ],
    },
    {},
  ]);
  expect([...all.keys()]).toEqual(['ms', 'child', 'inline']);
  expect(all.get('child')).toMatchObject({ owner: 'ms', severity: 'info', location: 'absolute' });
  const ms = all.get('ms');
  const inline = all.get('inline');
  if (!ms || !inline) throw new Error('they are there');
  expect(findProblems('/x(3,4): warning hm', ms)).toMatchObject([
    { file: '/x', line: 3, column: 4, severity: 'warning', message: 'hm' },
  ]);
  expect(findProblems('!f:whole file', inline)).toMatchObject([{ file: 'f', line: 1 }]);
});
