// Output as plain text, without terminal control sequences. Pure.

const SEQUENCE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: this matches control sequences.
  /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[PX^_][^\u001b]*\u001b\\|[ -/]*[0-~])/g;

export function plain(text: string): string {
  return (
    text
      .replace(SEQUENCE, '')
      .replace(/\r+\n/g, '\n')
      // Keep only the last state of a redrawn progress line.
      .replace(/^[^\n]*\r(?=[^\n])/gm, '')
      // biome-ignore lint/suspicious/noControlCharactersInRegex: this removes the others.
      .replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, '')
  );
}
