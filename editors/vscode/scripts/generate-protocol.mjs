// Writes src/protocol/generated.ts from docs/schema.json, so that no type of the protocol is
// written twice. `--check` compares instead, and exits with 1 where the file is out of date.
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile } from 'json-schema-to-typescript';

const here = dirname(fileURLToPath(import.meta.url));
const schemaFile = join(here, '../../../docs/schema.json');
const outFile = join(here, '../src/protocol/generated.ts');

/** The `_meta` that nearly every type of ACP has, as one shared type. */
const META = {
  type: 'object',
  additionalProperties: true,
  description: 'Additional metadata; nothing may be assumed of its values.',
};

/**
 * Keeps only the first paragraph of a description; the rest is in docs/schema.json.
 * Beside a `$ref`, drops a description, because it would lead to a second copy of the type, and turns
 * properties, as in the variants of `SessionUpdate`, into an intersection.
 */
function plain(schema) {
  if (Array.isArray(schema)) return schema.map(plain);
  if (schema === null || typeof schema !== 'object') return schema;
  const { $ref, ...rest } = schema;
  if (typeof rest.description === 'string') [rest.description] = rest.description.split('\n\n');
  if (rest.properties?._meta) rest.properties = { ...rest.properties, _meta: meta(rest) };
  if (typeof $ref === 'string' && !rest.properties) return { $ref };
  const entries = Object.entries(rest).map(([key, value]) => [key, plain(value)]);
  if (typeof $ref !== 'string') return Object.fromEntries(entries);
  return { allOf: [{ $ref }, Object.fromEntries(entries)] };
}

/** Replaces a type's own `_meta` with the shared one, or `null` if the type allows that. */
function meta({ properties: { _meta } }) {
  const shared = { $ref: '#/$defs/Meta' };
  return [_meta.type].flat().includes('null') ? { anyOf: [shared, { type: 'null' }] } : shared;
}

/** The TypeScript text for a schema as `meanwhile schema` prints it. */
export async function generate(schema) {
  if (schema.$defs.Meta)
    throw new Error('the schema now has a type `Meta`: rename the one in this script');
  const $defs = { Meta: META, ...plain(schema.$defs) };
  const types = await compile(
    { title: 'Protocol', type: 'object', properties: {}, $defs },
    'Protocol',
    {
      additionalProperties: false,
      bannerComment: '',
      declareExternallyReferenced: true,
      unreachableDefinitions: true,
      strictIndexSignatures: true,
      style: { singleQuote: true, printWidth: 100 },
    },
  );
  const name = (ref) => ref.$ref.replace('#/$defs/', '');
  const methods = Object.entries(schema.methods).map(
    ([method, { params, result }]) =>
      `  '${method}': { params: ${name(params)}; result: ${name(result)} };`,
  );
  const pushes = Object.entries(schema.pushes).map(
    ([method, { params }]) => `  '${method}': ${name(params)};`,
  );
  const asked = Object.entries(schema.serverRequests ?? {}).map(
    ([method, { params, result }]) =>
      `  '${method}': { params: ${name(params)}; result: ${name(result)} };`,
  );
  const errors = Object.entries(schema.errors.codes).map(([code, name]) => `  ${name}: ${code},`);
  return [
    '// Generated from docs/schema.json by `npm run generate`. Not to be edited.',
    '',
    types
      .replace(/export interface Protocol \{\n?[^}]*\}\n/, '')
      .replaceAll(/(?: \*\s*\n)? \* This interface was referenced by .*\n \* via the .*\n/g, '')
      .trim(),
    '',
    '/** Every request, by its method. */',
    'export interface Methods {',
    ...methods,
    '}',
    '',
    '/** Every push of the server, by its method. */',
    'export interface Pushes {',
    ...pushes,
    '}',
    '',
    '/** Every request of the server, by its method. */',
    'export interface ServerRequests {',
    ...asked,
    '}',
    '',
    '/** The code of every error, by its name. */',
    'export const ERRORS = {',
    ...errors,
    '} as const;',
    '',
    `export const PROTOCOL_VERSION = ${schema.protocolVersion};`,
    '',
  ].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = await generate(JSON.parse(await readFile(schemaFile, 'utf8')));
  if (process.argv.includes('--check')) {
    if (text !== (await readFile(outFile, 'utf8'))) {
      console.error('src/protocol/generated.ts is out of date: run `npm run generate`');
      process.exit(1);
    }
  } else {
    await writeFile(outFile, text);
  }
}
