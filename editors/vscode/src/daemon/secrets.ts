// What is written nowhere. Pure.

/** A text without the secrets, also where it is JSON, or has JSON in it. */
export function without(secrets: { [name: string]: string }, text: string): string {
  return Object.values(secrets)
    .filter((secret) => secret !== '')
    .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)])
    .reduce((rest, secret) => rest.replaceAll(secret, '***'), text);
}
