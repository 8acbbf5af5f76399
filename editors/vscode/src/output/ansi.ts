// Output as text: what is left of it when the terminal's control sequences are taken out. Pure.

const SEQUENCE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control sequences are what this is about.
  /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[PX^_][^\u001b]*\u001b\\|[ -/]*[0-~])/g;

export function plain(text: string): string {
  return (
    text
      .replace(SEQUENCE, '')
      .replace(/\r+\n/g, '\n')
      // A progress line drawn over and over: its last state.
      .replace(/^[^\n]*\r(?=[^\n])/gm, '')
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the rest of them has no look.
      .replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, '')
  );
}
