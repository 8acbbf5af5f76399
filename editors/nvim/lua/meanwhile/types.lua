---@meta
--- The shapes of the daemon's protocol, as docs/schema.json has them, and those of the plugin's own
--- options. Nothing here is run.

---@alias meanwhile.State "running"|"stopping"|"exited"|"stopped"|"timedOut"|"lost"

---@class meanwhile.Contact a place cannot be reached
---@field lostSince string
---@field reason string
---@field needsYou? boolean a person has to sign in

---@class meanwhile.Watched a session that another process has open, or had
---@field sessionId string
---@field holder "open"|"closed"|"gone"|"deleted"
---@field pid? integer
---@field asks { question: string }[] what is asked there

---@class meanwhile.Task
---@field id string 8 lowercase hex digits
---@field workspace string
---@field queue string where its notifications go
---@field label? string
---@field command string as given; an argv is shown shell-quoted
---@field cwd string
---@field pid? integer
---@field state meanwhile.State
---@field queued? { since: string, reason: table, position?: integer, leftMs?: integer } what it waits for
---@field exit? { code?: integer, signal?: string } the kernel's word, once it has ended
---@field cause? { actor: string, message: string } on every end that was not the command's own
---@field createdAt string RFC 3339, UTC
---@field endedAt? string
---@field durationMs? integer
---@field deadlineMs? integer
---@field output { total: integer, dropped: integer } bytes
---@field progress? { percent?: integer, message?: string }
---@field survivors? { pid: integer, command: string }[] descendants alive after the leader ended
---@field service? boolean its spawn said that it is a server
---@field ports? integer[] TCP ports its processes listen on
---@field ready? boolean such a port has stood for a while, or a watch matched
---@field waitsForInput? boolean
---@field agent? boolean a session of an agent started it
---@field role? "step" an agent runs it in the foreground, as a step of its turn
---@field delivered? { at: string, by: "drain"|"wait"|"check", turn?: integer }
---@field on? string the place where it runs, if that is not this machine
---@field contact? meanwhile.Contact
---@field shown meanwhile.Shown the words that people are shown

---@class meanwhile.Card a result as it entered a conversation
---@field taskId string
---@field kind "exited"|"matched"|"stalled"
---@field title string
---@field command? string where it is not the title
---@field outcome? string as in `meanwhile.Shown`; absent where the task is not kept any more
---@field says string `exited 3 after 2.0s`
---@field way? string `ended during call 2, entered call 3, waited 786 ms`
---@field output string what of it the model was shown

---@class meanwhile.Piece a part of a timeline
---@field type "lane"|"segment"|"mark"|"arrow"|"gap"
---@field key string
---@field kind? string of a lane `agent`, `queue` or `task`; of others what it is
---@field label string
---@field look? string how it is drawn
---@field lane? string the key of its lane
---@field says? string[] what else is known of it
---@field from? string RFC 3339, UTC
---@field to? string absent where it goes on
---@field at? string
---@field call? integer the model call
---@field taskId? string

---@class meanwhile.Shown
---@field title string its label, else its command, on one line
---@field outcome "queued"|"running"|"stopping"|"succeeded"|"failed"|"stopped"|"timedOut"|"lost"
---@field stands string `queued, 2nd for build`, `exit 1`, `stopped by client`
---@field ended? string `exited 1 after 4.0s`
---@field took? string `1m 32s`

---@class meanwhile.Notification
---@field seq integer
---@field queue string
---@field kind "exited"|"matched"|"stalled"
---@field at string
---@field task meanwhile.Task
---@field preview { head: string, tail: string, omitted: integer }
---@field match? { id: string, line: string, offset: integer }

---@class meanwhile.Read the result of `task/read`
---@field data string
---@field encoding "utf8"|"base64"
---@field offset integer
---@field nextOffset integer
---@field eof boolean
---@field gap? { from: integer, to: integer } asked for and not retained

---@class meanwhile.Error
---@field code integer
---@field message string
---@field data? { kind?: string, field?: string }
---@field told? boolean the person has been told already

---@class meanwhile.SpawnOpts
---@field [1]? string|string[] short for `command`
---@field command? string|string[] a line for `/bin/sh -c`, or an argv to execute as is
---@field cwd? string default: the workspace
---@field env? table<string, string|false> false takes a name out of the environment
---@field label? string
---@field queue? string
---@field slot? string
---@field on? string the place where it runs
---@field deadline? integer milliseconds it may run
---@field stdin? string text it reads from its standard input
---@field pty? boolean|{ rows: integer, cols: integer }
---@field watch? { id?: string, pattern: string, limit?: integer }[]
---@field errorformat? string for its quickfix list; default: 'errorformat' of the current buffer
---@field root? string the workspace; default: that of the current directory
---@field on_exit? fun(task?: meanwhile.Task, err?: meanwhile.Error)

---@class meanwhile.Opts
---@field binary? string path of the `meanwhile` to start
---@field env? table<string, string> added to the daemon's environment
---@field root? string|fun(): string the workspace; default: the current directory
---@field queue? string the queue of the tasks started here
---@field linger? integer|false milliseconds a task goes on without any daemon; false: for ever
---@field autostart? boolean connect when Neovim starts, rather than at the first use
---@field notify? boolean|fun(task: meanwhile.Task): boolean the one switch for all notices
---@field notify_after? number seconds that a task must have run for a notice of its end
---@field progress? boolean whether tasks show as LSP progress
---@field quickfix? boolean|"failed" fill the quickfix list when a task started here ends
---@field errorformat? string for tasks that have none of their own; default: by the command
---@field terminal? boolean whether `:Meanwhile run` gives a command a terminal: colours, input
---@field icons? "unicode"|"ascii"
---@field list? meanwhile.WindowOpts
---@field output? meanwhile.OutputOpts
---@field timeline? meanwhile.WindowOpts
---@field chat? meanwhile.WindowOpts

---@class meanwhile.WindowOpts
---@field open? string the command that makes the window, such as `botright 12split`

---@class meanwhile.OutputOpts: meanwhile.WindowOpts
---@field tail? integer bytes read from the end when it is opened
---@field scrollback? integer lines

return {}
