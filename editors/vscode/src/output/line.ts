// Line editing as a terminal driver does it, for tasks whose input is a pipe: echo, erase, send on
// Enter, end of input on Ctrl-D. Pure.

export interface LineResult {
  /** Shown in the terminal. */
  echo: string;
  /** Sent to the task. */
  send: string;
  /** Whether to close the task's input. */
  eof: boolean;
}

export class LineInput {
  private line = '';

  input(data: string): LineResult {
    const result: LineResult = { echo: '', send: '', eof: false };
    // Arrow keys and the like mean nothing to a pipe.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one.
    for (const char of data.replace(/\u001b(\[[0-9;?]*[ -/]*[@-~]|O.|.)?/g, '')) {
      switch (char) {
        case '\r':
        case '\n':
          result.send += `${this.line}\n`;
          result.echo += '\r\n';
          this.line = '';
          break;
        case '\u007f':
        case '\b':
          if (this.line !== '') {
            this.line = [...this.line].slice(0, -1).join('');
            result.echo += '\b \b';
          }
          break;
        case '\u0015':
          result.echo += '\b \b'.repeat([...this.line].length);
          this.line = '';
          break;
        case '\u0004':
          if (this.line === '') result.eof = true;
          else {
            result.send += this.line;
            this.line = '';
          }
          break;
        default:
          if (char >= ' ' || char === '\t') {
            this.line += char;
            result.echo += char;
          }
      }
    }
    return result;
  }
}
