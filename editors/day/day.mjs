// A day's work for both editors: its workspace, the answers of its scripted model, and the function that takes a
// picture at each step. `nvim.mjs` and `vscode.mjs` drive a real editor with the keys and clicks of a person.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The names of the twelve tasks, in the order of the day; each editor does them in its own way. */
export const TASKS = {
  build: 'start a build, go on editing, watch its output, be told of its end',
  failing: 'a build that fails, and to the line that is wrong',
  input: 'a release that waits for an answer',
  runaway: 'stop a server that runs away, and see why it ended',
  again: 'run it again as it was',
  queue: 'a second test run waits for its turn',
  agent: 'the agent starts the tests, answers, and hears of their end by itself',
  hunk: 'take one part of an edit that the agent proposes',
  survive: 'the daemon is killed and the editor reloaded, and nothing is lost',
  timeline: 'look at a finished session',
  place: 'a task on another machine, and one that cannot be reached',
  watch: 'look at a session that another process has',
};

const FILES = {
  Makefile: 'shop: cart.o\n\tcc -o $@ $^\n%.o: %.c\n\tcc -Wall -c $<\n',
  'cart.c': `#include <stdio.h>

struct item { const char *name; int price; int count; };

static int total(const struct item *items, int n)
{
	int sum = 0;
	for (int i = 0; i < n; i++)
		sum += items[i].price * items[i].cuont;
	return sum
}

int main(void)
{
	struct item items[] = { { "tea", 3, 2 }, { "cup", 7, 1 } };
	printf("%d\\n", total(items, 2));
	return 0;
}
`,
  'cart.py': `"""A shopping cart."""


class Cart:
    def __init__(self):
        self.items = []

    def add(self, item):
        self.items.append(item)

    def total(self):
        return sum(item.price for item in self.items)

    def describe(self):
        return ", ".join(item.name for item in self.items)

    def clear(self):
        self.items = []
`,
  // The script reads the width of its terminal, as programs with progress bars do.
  'build.sh': `i=0
while [ $i -le 20 ]; do
  width=$(( $(stty size </dev/tty | cut -d' ' -f2) - 12 ))
  full=$(( width * i / 20 ))
  bar=$(printf "%\${full}s" | tr ' ' '#')
  printf '\\r%3d%% [%-*s]' $((i * 5)) "$width" "$bar"
  sleep "\${1:-0.5}"
  i=$((i + 1))
done
printf '\\nbuilt shop 1.4.0\\n'
`,
  'release.sh': `echo 'shop 1.4.0, 3 changes'
printf 'Publish shop 1.4.0? [y/N] '
read -r answer
[ "$answer" = y ] && echo published || { echo 'not published'; exit 1; }
`,
  // The script's child ignores SIGTERM.
  'serve.sh': `sh -c 'trap "" TERM; i=0; while :; do i=$((i + 1)); echo "GET /cart/$i 200"; sleep 0.02; done' &
echo 'listening on 127.0.0.1:8080'
wait
`,
  'tests.sh': `echo 'running 3 tests'
for name in add empty total; do
  sleep "\${1:-2}"
  printf 'test %s ... \\033[32mok\\033[0m\\n' $name
done
`,
};

const SCRIPT = `
model = "scripted"
context_window = 20000
pace_ms = 20

[[turn]]
when = "Run the tests"
text = "I start the tests in the background and read the code meanwhile."
[[turn.call]]
tool = "background_run"
input = { command = "sh tests.sh 3", label = "tests" }

[[turn]]
when = "started in the background"
text = "\`total\` never reads \`count\`. You hear from me when the tests are done."

[[turn]]
when = "exited 0 after"
text = "The tests are done: **3 of 3 pass**, so none of them covers \`count\`."

[[turn]]
when = "Mend the cart"
[[turn.call]]
tool = "write_file"
input = { path = "cart.py", content = '''${FILES['cart.py']
  .replace('item.price for', 'item.price * item.count for')
  .replace('", ".join', '"; ".join')}''' }

[[turn]]
when = "cart.py"
text = "Written as you left it: the sum is mended, and the comma stays."

[[turn]]
when = "What is in the cart"
text = "Items with a name, a price and a count."
`;

/** Writes the workspace, the settings and the script below a folder; returns the environment that has them. */
export function prepare(root, workspace, program) {
  const far = join(root, 'far');
  const files = {
    ...Object.fromEntries(Object.entries(FILES).map(([name, text]) => [join(workspace, name), text])),
    [join(far, 'shop/tests.sh')]: FILES['tests.sh'],
    [join(root, 'script.toml')]: SCRIPT,
    [join(root, 'config/meanwhile/config.toml')]: `
[slots.tests]
match = ["sh tests.sh"]
[places.build]
command = ["env", "MEANWHILE_STATE_DIR=${far}/state", "HOME=${far}", "${program}", "serve"]
workspace = "${far}/shop"
[places.attic]
command = ["sh", "-c", "echo 'ssh: connect to host attic port 22: No route to host' >&2; exit 255"]
`,
  };
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(name), { recursive: true });
    writeFileSync(name, text);
  }
  return {
    XDG_CONFIG_HOME: join(root, 'config'),
    MEANWHILE_MODEL: `script/${join(root, 'script.toml')}`,
  };
}

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits for the effect of a step; the error names what did not happen. */
export async function until(condition, what, ms = 60_000) {
  const end = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not within ${ms / 1000} s: ${what}`);
    await pause(50);
  }
}

/** Runs the tasks that match `pattern`, each with its steps and pictures; at the end prints which were done. */
export async function day(editor, out, pattern, tasks, picture) {
  mkdirSync(out, { recursive: true });
  const wanted = new RegExp(pattern);
  let failed = 0;
  for (const [index, [name, words]] of Object.entries(TASKS).entries()) {
    if (!wanted.test(name)) continue;
    console.log(`\n${index + 1}. ${name}: ${words}`);
    let steps = 0;
    const step = async (text) => {
      steps++;
      const file = `${editor}-${String(index + 1).padStart(2, '0')}-${name}-${steps}.png`;
      console.log(`   ${steps}. ${text}  (${file})`);
      await picture(join(out, file));
    };
    try {
      await tasks[name](step);
    } catch (error) {
      failed++;
      console.log(`   NOT DONE: ${error.stack}`);
      await step('as it stood');
    }
  }
  console.log(`\n${failed === 0 ? 'all done' : `${failed} not done`}`);
  return failed === 0 ? 0 : 1;
}
