local binary = require("meanwhile.binary")
local command = require("meanwhile.command")
local quickfix = require("meanwhile.quickfix")

describe(":Meanwhile run", function()
  it("expands % only where it is a word", function()
    vim.cmd.file("/w/some dir/main.c")
    for given, expected in pairs({
      ["cc %"] = "cc '/w/some dir/main.c'",
      ["cc -o %:t:r.o %"] = "cc -o 'main'.o '/w/some dir/main.c'",
      ["cd %:h; ls"] = "cd '/w/some dir'; ls",
      ["date +%s"] = "date +%s",
      ["printf '%s %d'"] = "printf '%s %d'",
      ["echo \\% 100%"] = "echo % 100%",
      ["FILE=% make"] = "FILE='/w/some dir/main.c' make",
      ["echo a # a comment"] = "echo a # a comment",
    }) do
      assert.equal(expected, command.expand(given))
    end
    vim.cmd("bwipeout!")
  end)

  it("reads its options", function()
    local opts, rest = command.parse_run("++label=build ++pty ++deadline=1h30m make -j4 ++x")
    assert.same({ label = "build", pty = true, deadline = 5400000 }, opts)
    assert.equal("make -j4 ++x", rest)
    assert.same({ pty = false }, (command.parse_run("++pipe make")))
    local none, problem = command.parse_run("++lable=x make")
    assert.is_nil(none)
    assert.truthy(problem:find("`++lable=x` is not an option of run", 1, true))
    assert.is_nil((command.parse_run("++deadline=soon make")))
  end)

  it("reads times", function()
    for text, ms in pairs({ ["90"] = 90000, ["250ms"] = 250, ["10m"] = 600000, ["1h30m"] = 5400000 }) do
      assert.equal(ms, command.milliseconds(text))
    end
    for _, text in ipairs({ "", "x", "10x", "m", "0s" }) do
      assert.is_nil(command.milliseconds(text))
    end
  end)
end)

describe("completion", function()
  it("knows the subcommands", function()
    local names = command.complete("", "Meanwhile ", 10)
    for _, name in ipairs({ "run", "list", "output", "stop", "drain", "timeline", "chat", "log" }) do
      assert.truthy(vim.list_contains(names, name), name)
    end
    assert.same({ "stop" }, command.complete("st", "Meanwhile st", 12))
  end)

  it("knows what run takes", function()
    assert.same({ "++label=" }, command.complete("++l", "Meanwhile run ++l", 17))
    local words = command.complete("tru", "Meanwhile run tru", 17)
    assert.truthy(vim.list_contains(words, "true"))
    local after = command.complete("/et", "'<,'>Meanwhile run cat /et", 26)
    assert.truthy(vim.list_contains(after, "/etc/"))
  end)
end)

describe("the binary", function()
  it("has to be meanwhile and new enough", function()
    local function judge(stdout)
      return binary.judge("/x", { code = 0, signal = 0, stdout = stdout, stderr = "" })
    end
    assert.equal("0.1.0", judge("meanwhile 0.1.0\n"))
    assert.equal("1.2.3-rc1", judge("meanwhile 1.2.3-rc1\n"))
    for said, word in pairs({ ["meanwhile 0.0.9\n"] = "0.1.0 or newer", ["hello"] = "--version" }) do
      local version, why = judge(said)
      assert.is_nil(version)
      assert.truthy(why:find(word, 1, true))
      assert.truthy(why:find("vim.g.meanwhile", 1, true), "the setting is named")
    end
  end)
end)

describe("output for the quickfix list", function()
  it("is free of colours and of what was redrawn", function()
    assert.same(
      { "main.c:3:1: error: x", "done", "  two" },
      quickfix.lines(
        "\27[1mmain.c:3:1: \27[31merror:\27[0m x\r\n10%\r50%\rdone\n\27]0;title\7  two\n"
      )
    )
    assert.same({}, quickfix.lines(""))
  end)

  it("has places relative to where the command ran", function()
    local dir = vim.fn.tempname()
    vim.fn.mkdir(dir .. "/sub", "p")
    vim.fn.writefile({ "1", "2", "3" }, dir .. "/sub/main.c")
    local task = { id = "b3f9c2a1", cwd = dir .. "/sub", command = "make", state = "exited" }
    task.shown = { title = "make", outcome = "failed", stands = "exit 2" }
    local text = "cc main.c\nmain.c:2:5: error: no\n"
    assert.equal(1, quickfix.set(task, text, "%f:%l:%c: %trror: %m"))
    local list = vim.fn.getqflist({ items = 0, title = 0 })
    assert.equal("meanwhile: make (exit 2)", list.title)
    assert.equal(2, #list.items)
    local item = list.items[2]
    assert.equal(dir .. "/sub/main.c", vim.api.nvim_buf_get_name(item.bufnr))
    assert.same({ 2, 5, "e" }, { item.lnum, item.col, item.type:lower() })
  end)
end)
