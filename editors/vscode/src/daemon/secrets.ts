// Keeps secrets out of logs. Pure.

/** Replaces the secrets in a text, also in their form inside JSON strings. */
export function without(secrets: { [name: string]: string }, text: string): string {
  return Object.values(secrets)
    .filter((secret) => secret !== '')
    .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)])
    .reduce((rest, secret) => rest.replaceAll(secret, '***'), text);
}
