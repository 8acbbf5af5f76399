local chats = require("chat")
local harness = require("harness")

describe("the chat", function()
  local place
  before_each(function()
    place = harness.place()
  end)
  after_each(harness.clean)

  local function chat(script)
    return chats.open(place, script)
  end

  it("streams an answer to what was typed", function()
    local nvim = chat([==[
pace_ms = 30
[[turn]]
think = "It is a greeting."
text = "Hello, I am a model that reads from a file."
]==])
    nvim:type("iGood morning<CR>to you<Esc><CR>")
    nvim:says("▌ you\nGood morning\nto you\n")
    nvim:says("▌ agent\nHello,")
    nvim:sees("working")
    local text = nvim:says("reads from a file%.")
    assert.truthy(text:find("┆ It is a greeting."), text)
    nvim:sees("idle")
    assert.equal(1, select(2, text:gsub("Good morning", "")), "the prompt is there once")
    assert.equal("", nvim:text(), "and no longer below")
  end)

  it("asks for permission, runs in the background and wakes with the result", function()
    local gate = harness.gate(place)
    local script = gate:script()
    local nvim = chat([==[
[[turn]]
text = "I start it."
]==] .. chats.call({ command = script .. " 3", label = "build" }) .. [==[
save = { build = "[0-9a-f]{8}" }
[[turn]]
text = "It runs."
[[turn]]
expect = ["<background-results>", "[bg:{{build}}] exited 3"]
text = "The build failed."
]==])
    nvim:ask("Build it")
    -- The reason takes two lines here, and all options are still visible.
    nvim:sees("May the agent .*sh wait.sh.*1  Allow\n.*3  Reject")
    nvim:says("waits for permission")
    nvim:type("1<CR>")
    nvim:eventually("vim.bo.filetype == 'meanwhile-prompt'")
    nvim:says("It runs%.")
    nvim:says("in the background, running")
    local task = nvim:lua([[
      return vim.iter(require("meanwhile").list()):find(function(t) return t.label == "build" end)
    ]])
    assert.equal("running", task.state)
    nvim:sees("1 in the background")
    nvim:cmd("wincmd t | Meanwhile list")
    nvim:sees("● running .* build +sh wait.sh 3")
    nvim:type("q")
    gate:open()
    local text = nvim:says("The build failed%.")
    assert.truthy(text:find("┏━ A background result entered here, with model call 3"), text)
    assert.truthy(text:find("┃ ✗ build  exited 3 after %S+  %[bg:" .. task.id .. "%]"), text)
    local way = "ended while the agent was idle, woke the agent with call 3, waited"
    assert.truthy(text:find(way, 1, true), text)
    assert.is_nil(text:find("No human input", 1, true), "that is for the model")
    nvim:says("in the background, exit 3  " .. task.id)
    -- <CR> on a result opens its output.
    nvim:cmd("Meanwhile chat")
    nvim:type("<C-w>k/bg:<CR><CR>")
    nvim:sees("exited 3 after")
    assert.truthy(nvim:lua("return vim.api.nvim_buf_get_name(0)"):find(task.id))
    -- The person gets no notice of an agent's task.
    assert.is_nil(nvim:told():find("exited 3"))
  end)

  it("takes no for an answer", function()
    local nvim = chat([==[
[[turn]]
]==] .. chats.call({ command = "touch forbidden" }) .. [==[
[[turn]]
text = "Then I leave it."
]==])
    nvim:ask("Touch it")
    local screen = nvim:sees("May the agent .*touch forbidden")
    local reject = screen:match("(%d)  Reject")
    assert.truthy(reject, screen)
    nvim:type(reject .. "<CR>")
    nvim:says("Then I leave it%.")
    assert.is_nil(vim.uv.fs_stat(place.root .. "/forbidden"))
  end)

  it("shows what it edited, in the chat and in the buffer of the file", function()
    vim.fn.writefile({ "one", "two", "three" }, place.root .. "/notes.txt")
    local nvim = chat([==[
[[turn]]
]==] .. chats.call({ path = "notes.txt", old_string = "two", new_string = "2" }, "edit_file") .. [==[
[[turn]]
text = "Changed."
]==])
    nvim:cmd("wincmd t | edit notes.txt | wincmd b")
    nvim:ask("Change it")
    nvim:sees("May the agent .*notes.txt")
    nvim:says("%-two\n +%+2")
    nvim:type("1<CR>")
    nvim:says("Changed%.")
    nvim:eventually("vim.fn.getbufline('notes.txt', 2)[1] == '2'")
  end)

  local proposed = "ONE\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n"

  --- Opens a chat whose agent wants to change two parts of a file, or to write `content`.
  local function editing(expect, content)
    local edited = { path = "src/notes.txt", content = content or proposed }
    vim.fn.mkdir(place.root .. "/src", "p")
    vim.fn.writefile(
      { "one", "two", "three", "four", "five", "six", "seven" },
      place.root .. "/src/notes.txt"
    )
    local nvim = chat("[[turn]]\n" .. chats.call(edited, "write_file") .. ([==[
[[turn]]
expect = ["%s"]
text = "As you say."
]==]):format(expect))
    nvim:ask("Change it")
    nvim:sees("May the agent write src/notes.txt%?")
    return nvim
  end

  local function notes()
    return table.concat(vim.fn.readfile(place.root .. "/src/notes.txt"), " ")
  end

  it("writes the parts of a change that the person takes, and nothing before", function()
    local nvim = editing("the person changed this call")
    nvim:sees(
      "1  Allow\n.*2  Always allow edits in `src`.*3  Reject.*4  Never allow edits in `src`"
    )
    nvim:type("d")
    nvim:sees("proposed: do undoes a part, ZZ allows this, q: later")
    nvim:eventually("vim.wo.diff and vim.fn.getline('.') == 'ONE'")
    nvim:type("]c")
    nvim:eventually("vim.fn.getline('.') == 'SEVEN'")
    nvim:type("do")
    nvim:eventually("vim.fn.getline('.') == 'seven'")
    assert.equal("one two three four five six seven", notes(), "nothing is written before")
    -- Back at the question, the edit is kept.
    nvim:type("q")
    nvim:eventually("#vim.api.nvim_list_tabpages() == 1")
    nvim:type("d")
    nvim:eventually("vim.wo.diff and vim.fn.getline(7) == 'seven'")
    -- `:wa` is not an answer.
    nvim:type(":wa<CR>")
    nvim:hears("ZZ allows it")
    assert.equal("one two three four five six seven", notes())
    -- `:e!` restores the proposal.
    nvim:type(":e!<CR>")
    nvim:eventually("vim.fn.getline(7) == 'SEVEN'")
    nvim:type("Gdo")
    nvim:eventually("vim.fn.getline(7) == 'seven'")
    nvim:type("ZZ")
    nvim:says("As you say%.")
    assert.equal("ONE two three four five six seven", notes())
    nvim:eventually("#vim.api.nvim_list_tabpages() == 1")
    nvim:eventually(
      "vim.fn.bufexists('meanwhile://proposed" .. place.root .. "/src/notes.txt') == 0"
    )
  end)

  it("takes a change of which every part was taken back for a no", function()
    local nvim = editing("the person rejected all")
    nvim:type("d")
    nvim:eventually("vim.wo.diff and vim.fn.getline('.') == 'ONE'")
    nvim:type("do]cdoZZ")
    nvim:says("As you say%.")
    assert.equal("one two three four five six seven", notes())
  end)

  it("writes one empty line, or nothing at all, as the person leaves it", function()
    for keys, text in pairs({ ["ggjdGggS<Esc>"] = "\n", ggdG = "" }) do
      local nvim = editing("the person changed this call")
      nvim:type("d")
      nvim:eventually("vim.wo.diff and vim.fn.getline('.') == 'ONE'")
      nvim:type(keys)
      nvim:eventually("vim.fn.getline(1) == '' and vim.fn.line('$') == 1")
      nvim:type("ZZ")
      nvim:says("As you say%.")
      assert.equal(text, vim.fn.readblob(place.root .. "/src/notes.txt"))
      nvim:quit()
    end
  end)

  it("says what the diff of a change does not show", function()
    local nvim = editing("", "one\r\ntwo\r\nthree\r\nfour\r\nfive\r\nsix\r\nseven")
    nvim:sees("line endings change from LF to CRLF")
    nvim:sees("the newline at the end of the file is removed")
  end)

  it("does not hold up the person while it asks", function()
    local nvim = editing("replaced")
    nvim:type("<C-w>k")
    nvim:eventually("vim.bo.filetype == 'meanwhile-chat'")
    nvim:type("<C-w>h:edit other<CR>imine<Esc>")
    nvim:eventually("vim.fn.getline(1) == 'mine'")
    nvim:sees("May the agent write src/notes.txt%?")
    nvim:cmd("Meanwhile chat")
    nvim:eventually("vim.bo.filetype == 'meanwhile-prompt'")
    -- <CR> does not answer unless the cursor is on an option.
    nvim:type("<CR>")
    nvim:type("<C-w>k")
    nvim:eventually("vim.bo.filetype == 'meanwhile-question'")
    nvim:type("gg<CR>")
    nvim:hears("not answered")
    nvim:eventually("vim.bo.filetype == 'meanwhile-question'")
    assert.equal("one two three four five six seven", notes())
    nvim:type("1<CR>")
    nvim:says("As you say%.")
    assert.equal("ONE two three four five six SEVEN", notes())
  end)

  it("never asks over what is typed elsewhere", function()
    local gate = harness.gate(place)
    local nvim = chat([==[
[[turn]]
hold = "]==] .. gate.path .. [==["
]==] .. chats.call({ command = "touch allowed" }) .. [==[
[[turn]]
text = "Done."
]==])
    nvim:type("iTouch it<Esc><CR><C-w>h")
    nvim:type("iMy own ")
    nvim:eventually("vim.fn.getline(1) == 'My own '")
    gate:open()
    nvim:hears("may the agent .*touch allowed")
    nvim:type("1<CR>text<Esc>")
    nvim:eventually("vim.fn.getline(2) == 'text'")
    assert.equal("My own 1", nvim:lua("return vim.fn.getline(1)"))
    assert.is_nil(vim.uv.fs_stat(place.root .. "/allowed"), "it was not the answer")
    nvim:cmd("Meanwhile chat")
    nvim:sees("May the agent run in the background: touch allowed%?")
    nvim:eventually("vim.bo.filetype == 'meanwhile-question'")
    nvim:type("1<CR>")
    nvim:says("Done%.")
    harness.eventually("the file", function()
      return vim.uv.fs_stat(place.root .. "/allowed")
    end)
  end)

  it("forgets a question when the daemon that asked it is gone", function()
    local nvim = chat([==[
[[turn]]
]==] .. chats.call({ command = "touch asked" }) .. [==[
[[turn]]
text = "After it."
]==])
    nvim:ask("Ask me")
    nvim:sees("May the agent ")
    vim.uv.kill(harness.daemons(place)[1], "sigkill")
    nvim:eventually("require('meanwhile.workspace').get().connection.restarts == 1")
    nvim:type("1<CR>")
    nvim:sees("idle")
    nvim:says("Ask me")
    nvim:ask("Again")
    nvim:says("After it%.")
    assert.is_nil(vim.uv.fs_stat(place.root .. "/asked"), "a late answer allows nothing")
  end)

  it("closes a question that is not waited for any more", function()
    local nvim = chat([==[
[[turn]]
]==] .. chats.call({ command = "touch asked" }))
    nvim:ask("Ask me")
    nvim:sees("May the agent ")
    -- Cancel as another client of the session would.
    nvim:lua(
      [[
      local connection = require("meanwhile.workspace").get().connection
      connection:notify("session/cancel", { sessionId = ... })
    ]],
      nvim:session()
    )
    nvim:eventually("vim.fn.bufexists('meanwhile://question') == 0")
    nvim:says("Cancelled%.")
    assert.is_nil(vim.uv.fs_stat(place.root .. "/asked"))
  end)

  it("is cancelled, and background tasks go on", function()
    local nvim = chat([==[
[[turn]]
]==] .. chats.call({ command = "sleep 300", label = "server" }) .. [==[
[[turn]]
hold = "/none"
text = "never"
]==])
    nvim:ask("Serve")
    nvim:says("in the background, running")
    nvim:sees("working")
    nvim:type("<C-c>")
    nvim:says("Cancelled%. Background tasks go on")
    nvim:sees("idle .*1 in the background")
    nvim:cmd("Meanwhile stop server")
    nvim:hears("server stopped by client")
  end)

  it("tells that it has answered where that cannot be seen", function()
    local gate = harness.gate(place)
    local nvim = chat([==[
[[turn]]
hold = "]==] .. gate.path .. [==["
text = "Behind the scenes."
]==])
    nvim:ask("Work")
    nvim:says("▌ you\nWork")
    nvim:cmd("only | enew")
    gate:open()
    nvim:hears("the agent has answered %(:Meanwhile chat%): Work")
    nvim:cmd("Meanwhile chat")
    nvim:sees("Behind the scenes%.")
    assert.equal(1, nvim:lua("return #_G.told"), nvim:told())
  end)

  it("tells that it has not answered, and why", function()
    for _, case in ipairs({
      { 'expect = ["what was never said"]', "the agent has not answered .*what was never said" },
      { 'stop = "refusal"', "the agent has not answered .*The model refused to go on" },
    }) do
      local gate = harness.gate(place)
      local nvim = chat(('[[turn]]\nhold = "%s"\n'):format(gate.path) .. chats.call({
        command = "true",
      }, "bash") .. "[[turn]]\n" .. case[1])
      nvim:ask("Work")
      nvim:says("▌ you\nWork")
      nvim:cmd("only | enew")
      gate:open()
      nvim:hears(case[2])
      assert.is_nil(nvim:told():find("has answered"), nvim:told())
      assert.equal(1, nvim:lua("return #_G.told"), nvim:told())
      nvim:quit()
      vim.fn.delete(gate.path)
    end
  end)

  it("says nothing of a turn that was cancelled, or of a command in the foreground", function()
    local nvim = chat([==[
[[turn]]
]==] .. chats.call({ command = "exit 7" }, "bash") .. [==[
[[turn]]
text = "It failed."
[[turn]]
hold = "/none"
]==])
    nvim:ask("Try it")
    nvim:says("It failed%.")
    nvim:sees("idle")
    local task =
      nvim:eventually("select(2, next(require('meanwhile.workspace').get().tasks)) or nil")
    assert.same({ "exited", 7, "step" }, { task.state, task.exit.code, task.role })
    -- No list contains a step.
    nvim:eventually("require('meanwhile.workspace').get().fetched")
    assert.same({}, nvim:lua("return require('meanwhile').list()"))
    nvim:ask("Go on")
    nvim:sees("working")
    nvim:type("<Esc>:only | enew<CR>")
    nvim:lua([[
      local chat = require("meanwhile.ui.view").find("meanwhile://prompt" .. vim.fn.getcwd())
      vim.api.nvim_buf_call(chat, function() vim.cmd.normal(vim.keycode("<C-c>")) end)
    ]])
    nvim:says("Cancelled%. Background tasks go on")
    assert.equal("", nvim:told())
    assert.equal("", nvim:lua("return require('meanwhile').statusline()"))
    -- Its id can be used in commands.
    nvim:cmd("Meanwhile output " .. task.id)
    nvim:sees("exited 7 after")
  end)

  it("answers prompts in their order, each where it belongs", function()
    local gate = harness.gate(place)
    local nvim = chat([==[
[[turn]]
hold = "]==] .. gate.path .. [==["
text = "First answer."
[[turn]]
text = "Second answer."
]==])
    nvim:ask("one")
    nvim:ask("two")
    nvim:sees("1 prompt waits")
    gate:open()
    local text = nvim:says("Second answer%.")
    assert.truthy(
      text:find("one\n\n▌ agent\nFirst answer%.\n\n▌ you\ntwo\n\n▌ agent\nSecond"),
      text
    )
  end)

  it("is there again after the daemon or Neovim was killed", function()
    local nvim = chat([==[
[[turn]]
text = "Remembered."
[[turn]]
text = "Still here."
]==])
    nvim:ask("Remember this")
    nvim:says("Remembered%.")
    nvim:sees("idle")
    vim.uv.kill(harness.daemons(place)[1], "sigkill")
    harness.eventually("another daemon", function()
      return nvim:lua("return require('meanwhile.workspace').get().connection.restarts") == 1
    end)
    -- The transcript fills the window again.
    nvim:sees("▌ you.*Remember this.*▌ agent.*Remembered%.")
    local text = nvim:says("Remembered%.")
    assert.equal(1, select(2, text:gsub("Remember this", "")), text)
    nvim:ask("Go on")
    nvim:says("Still here%.")
    local session = nvim:session()
    nvim:kill()
    -- A new Neovim continues the conversation, and `:Meanwhile! chat` starts another one.
    local again = chats.of(harness.child(place, nvim.opts))
    again:cmd("Meanwhile chat")
    local there = again:says("Still here%.")
    assert.truthy(there:find("Remember this"), there)
    assert.equal(session, again:session())
    again:cmd("Meanwhile! chat")
    again:sees("Ask for something below")
    again:quit()
    local last = chats.of(harness.child(place, nvim.opts))
    last:cmd("Meanwhile chat")
    last:sees("Ask for something below")
  end)

  it("is watched where another process has its session, until that lets go of it", function()
    local gate = harness.gate(place)
    local nvim = chat(([==[
[[turn]]
text = "Mine."
[[turn]]
hold = "%s"
text = "More."
]==]):format(gate.path) .. chats.call({ command = "touch asked" }) .. [==[
[[turn]]
when = "From here"
text = "Ours."
]==])
    nvim:ask("Hello")
    nvim:says("Mine%.")
    local session = nvim:session()
    local other = chats.of(harness.child(place, nvim.opts))
    other:cmd("Meanwhile chat")
    other:says("Hello.*Mine%.")
    other:sees("idle · Process %d+ has this session open")
    -- A prompt that cannot be sent is kept.
    other:ask("From here")
    other:hears("not sent; `:Meanwhile! chat` begins another")
    assert.equal("From here", other:text())
    nvim:ask("Go on")
    other:says("Go on")
    other:sees("working · Process %d+ has this session open")
    gate:open()
    other:says("More%.")
    other:sees("working · Process %d+ asks: may the agent run in")
    nvim:eventually("vim.bo.filetype == 'meanwhile-question'")
    nvim:type("q")
    nvim:eventually("vim.bo.filetype == 'meanwhile-prompt'")
    nvim:type("<C-c>")
    nvim:says("Cancelled%.")
    nvim:cmd("Meanwhile! chat")
    other:sees("The session was closed in the other process")
    other:type("<CR>")
    other:says("From here.*Ours%.")
    other:sees("idle · script")
    -- Command-line completion finds the session.
    other:type("<Esc>:Meanwhile chat " .. session:sub(1, 4) .. "<Tab>")
    other:sees(":Meanwhile chat " .. session:gsub("%-", "%%-"))
    other:type("<Esc>")
  end)

  it(
    "keeps what was written and not sent over an end of Neovim, and leaves room for the code",
    function()
      local env = chats.model(place, '[[turn]]\ntext = "hi"\n')
      local nvim = harness.child(place, { env = env, columns = 80 })
      nvim:cmd("Meanwhile chat")
      -- At 80 columns the chat opens below: at the side it would leave no room for the code.
      assert.equal(80, nvim:lua("return vim.api.nvim_win_get_width(vim.fn.win_getid(1))"))
      nvim:type("ihalf a thought")
      nvim:eventually("vim.fn.getline(1) == 'half a thought'")
      nvim:later("vim.cmd('qa')")
      vim.fn.jobwait({ nvim.job }, 10000)
      nvim.job = nil
      -- At 120 columns it opens beside the code, narrower than the option says.
      local again = harness.child(place, { env = env, columns = 120 })
      again:cmd("Meanwhile chat")
      assert.equal(59, again:lua("return vim.api.nvim_win_get_width(0)"))
      again:eventually("vim.fn.getline(1) == 'half a thought'")
      again:type("<CR>")
      again:sees("hi")
      -- A sent prompt does not come back, even after Neovim is killed.
      again:kill()
      local last = harness.child(place, { env = env })
      last:cmd("Meanwhile chat")
      last:eventually("vim.bo.filetype == 'meanwhile-prompt' and vim.fn.getline(1) == ''")
    end
  )

  it(
    "keeps what was written over an end of its buffer, and leaves alone what another wrote",
    function()
      local nvim = harness.child(place)
      local other = harness.child(place)
      other:cmd("Meanwhile chat")
      nvim:cmd("Meanwhile chat")
      nvim:type("ihalf a thought<Esc>")
      nvim:eventually("vim.fn.getline(1) == 'half a thought'")
      nvim:cmd("bdelete!")
      nvim:eventually("vim.fn.bufexists('meanwhile://prompt' .. vim.uv.cwd()) == 0")
      other:later("vim.cmd('qa')")
      vim.fn.jobwait({ other.job }, 10000)
      other.job = nil
      nvim:cmd("Meanwhile chat")
      nvim:eventually("vim.fn.getline(1) == 'half a thought'")
    end
  )

  it("says what it cannot keep", function()
    local nvim = harness.child(place)
    nvim:cmd("Meanwhile chat")
    nvim:type("ihalf a thought<Esc>")
    nvim:eventually("vim.fn.getline(1) == 'half a thought'")
    -- A file instead of the directory, so that the draft cannot be written.
    nvim:lua("vim.fn.mkdir(vim.fn.stdpath('state'), 'p')")
    nvim:lua("vim.fn.delete(vim.fn.stdpath('state') .. '/meanwhile', 'rf')")
    nvim:lua("vim.fn.writefile({}, vim.fn.stdpath('state') .. '/meanwhile')")
    nvim:cmd("silent! bdelete!")
    nvim:hears("is lost, [^\n]*/meanwhile/draft")
  end)

  it("says what to set where there is no model", function()
    local nvim = chats.of(harness.child(place, { lines = 40, columns = 120 }))
    nvim:cmd("Meanwhile chat")
    nvim:sees("idle")
    nvim:ask("Anybody there?")
    nvim:says("MEANWHILE_MODEL")
    -- The prompt is kept.
    assert.equal("Anybody there?", nvim:text())
    -- Tasks work without a model.
    nvim:spawn("exit 0")
    nvim:hears("exited 0")
  end)

  it("shows the timeline of a session, live and afterwards", function()
    local gate = harness.gate(place)
    local script = gate:script()
    local nvim = chat([==[
[[turn]]
text = "I start it."
]==] .. chats.call({ command = script .. " 0", label = "build" }) .. [==[
[[turn]]
text = "It runs."
[[turn]]
text = "It is done."
]==])
    nvim:ask("Build it")
    nvim:sees("May the agent ")
    nvim:type("1<CR>")
    nvim:says("It runs%.")
    nvim:cmd("wincmd t | Meanwhile timeline")
    nvim:sees("┃━ model call · ═ its tools")
    nvim:sees("agent +┃")
    nvim:sees("build +├.*▸")
    gate:open()
    local screen = nvim:sees("queue[^\n]*◆")
    assert.truthy(screen:find("agent [^\n]*◆"), screen)
    assert.truthy(screen:find("build[^\n]*├[^\n]*┤"), screen)
    assert.truthy(screen:find("call +1.* 3"), screen)
    nvim:type("G")
    nvim:type("K")
    nvim:sees("call 3, waited")
    nvim:type("q")
    nvim:type("gg3j]]K")
    nvim:sees("Model call %d")
    nvim:type("q++")
    local session = nvim:session()
    nvim:quit()
    -- A past session, by the first characters of its id.
    local again = harness.child(place, { columns = 120, env = chats.model(place, "") })
    again:cmd("Meanwhile timeline " .. session:sub(1, 6))
    screen = again:sees("queue[^\n]*◆")
    assert.truthy(screen:find("agent [^\n]*◆"), screen)
  end)
end)
