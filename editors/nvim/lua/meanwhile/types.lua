---@meta
--- Types of the daemon's protocol, as in docs/schema.json, and of the plugin's options. Only annotations;
--- this file is never loaded.

---@alias meanwhile.State "running"|"stopping"|"exited"|"stopped"|"timedOut"|"lost"

---@class meanwhile.Contact why a place cannot be reached, and since when
---@field lostSince string
---@field reason string
---@field needsYou? boolean whether a person has to sign in

---@class meanwhile.Watched a session that another process has or had open
---@field sessionId string
---@field holder "open"|"closed"|"gone"|"deleted"
---@field pid? integer
---@field asks { question: string }[] the questions that wait there

---@class meanwhile.Task
---@field id string 8 lowercase hex digits
---@field workspace string
---@field queue string where its notifications go
---@field label? string
---@field command string as given; an argv is shown shell-quoted
---@field cwd string
---@field pid? integer
---@field state meanwhile.State
---@field queued? { since: string, reason: table, position?: integer, leftMs?: integer } why it waits
---@field exit? { code?: integer, signal?: string } as reported by the kernel, once it has ended
---@field cause? { actor: string, message: string } why it ended, unless the command ended by itself
---@field createdAt string RFC 3339, UTC
---@field endedAt? string
---@field durationMs? integer
---@field deadlineMs? integer
---@field output { total: integer, dropped: integer } bytes
---@field progress? { percent?: integer, message?: string }
---@field survivors? { pid: integer, command: string }[] descendants alive after the leader ended
---@field service? boolean whether it was spawned as a server
---@field ports? integer[] TCP ports its processes listen on
---@field ready? boolean whether it has listened on a port for a while, or a watch has matched
---@field waitsForInput? boolean
---@field agent? boolean whether an agent's session started it
---@field role? "step" if an agent runs it in the foreground, as a step of its turn
---@field delivered? { at: string, by: "drain"|"wait"|"check", turn?: integer }
---@field on? string the place where it runs, if that is not this machine
---@field contact? meanwhile.Contact
---@field place? { engine: string, job?: string, node?: string } its job, if a batch system runs it
---@field warning? string how its sources at the place differ from those here
---@field shown meanwhile.Shown texts for people

---@class meanwhile.Card a task's result as sent to the model
---@field taskId string
---@field kind "exited"|"matched"|"stalled"
---@field title string
---@field command? string if it is not the title
---@field outcome? string as in `meanwhile.Shown`; absent if the task is no longer kept
---@field says string `exited 3 after 2.0s`
---@field way? string `ended during call 2, entered call 3, waited 786 ms`
---@field output string the part of the output that the model got

---@class meanwhile.Piece a part of a timeline
---@field type "lane"|"segment"|"mark"|"arrow"|"gap"
---@field key string
---@field kind? string of a lane `agent`, `queue` or `task`; of other pieces such as `call` or `result`
---@field label string
---@field look? string how it is drawn
---@field lane? string the key of its lane
---@field says? string[] lines of details
---@field from? string RFC 3339, UTC
---@field to? string absent while it continues
---@field at? string
---@field call? integer the model call
---@field taskId? string

---@class meanwhile.Shown
---@field title string its label, else its command, on one line
---@field outcome "queued"|"running"|"stopping"|"succeeded"|"failed"|"stopped"|"timedOut"|"lost"
---@field stands string `queued, 2nd for build`, `exit 1`, `stopped by client`
---@field ended? string `exited 1 after 4.0s`
---@field took? string `1m 32s`
---@field order string lists are sorted by this text
---@field notice? "info"|"warning"|"error" how urgently to notify the person, if at all

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
---@field gap? { from: integer, to: integer } the requested bytes that were not retained

---@class meanwhile.Error
---@field code integer
---@field message string
---@field data? { kind?: string, field?: string }
---@field told? boolean whether the person has seen it already

---@class meanwhile.SpawnOpts
---@field [1]? string|string[] short for `command`
---@field command? string|string[] a line for `/bin/sh -c`, or an argv to execute as is
---@field cwd? string default: the workspace
---@field env? table<string, string|false> false removes a variable
---@field label? string
---@field queue? string
---@field slot? string
---@field on? string the place where it runs
---@field deadline? integer maximum run time in milliseconds
---@field stdin? string text for its standard input
---@field pty? boolean|{ rows: integer, cols: integer }
---@field watch? { id?: string, pattern: string, limit?: integer }[]
---@field errorformat? string for its quickfix list; default: by option, then by command
---@field root? string the workspace; default: that of the current directory
---@field on_exit? fun(task?: meanwhile.Task, err?: meanwhile.Error)

---@class meanwhile.Opts
---@field binary? string path of the `meanwhile` to start
---@field env? table<string, string> variables added to the daemon's environment
---@field root? string|fun(): string the workspace; default: the current directory
---@field queue? string the queue of the tasks started here
---@field linger? integer|false milliseconds that a task runs on without a daemon; false: forever
---@field autostart? boolean connect when Neovim starts, instead of at the first use
---@field notify? boolean|fun(task: meanwhile.Task): boolean whether to show notices
---@field notify_after? number minimum run time in seconds for a notice of a task's end
---@field progress? boolean whether tasks show as LSP progress
---@field quickfix? boolean|"failed" fill the quickfix list when a task started here ends
---@field errorformat? string for tasks without their own; default: by the command
---@field terminal? boolean whether `:Meanwhile run` gives a command a terminal: colours, input
---@field icons? "unicode"|"ascii"
---@field list? meanwhile.WindowOpts
---@field output? meanwhile.OutputOpts
---@field timeline? meanwhile.WindowOpts
---@field chat? meanwhile.WindowOpts

---@class meanwhile.WindowOpts
---@field open? string the command that makes the window, such as `botright 12split`

---@class meanwhile.OutputOpts: meanwhile.WindowOpts
---@field tail? integer bytes read from the end when the output is opened
---@field scrollback? integer lines

return {}
