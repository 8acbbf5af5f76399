local format = require("meanwhile.format")

---@return meanwhile.Task
local function task(fields)
  return vim.tbl_extend("force", {
    id = "b3f9c2a1",
    workspace = "/w",
    queue = "default",
    command = "make",
    cwd = "/w",
    state = "exited",
    exit = { code = 0 },
    createdAt = "2026-11-22T09:30:00.000Z",
    durationMs = 4000,
    output = { total = 0, dropped = 0 },
    shown = {
      title = "make",
      outcome = "succeeded",
      stands = "exit 0",
      ended = "exited 0 after 4.0s",
    },
  }, fields or {})
end

describe("format", function()
  it("says how long in the command line's words", function()
    for ms, words in pairs({
      [0] = "0.0s",
      [499] = "0.4s",
      [38200] = "38s",
      [92000] = "1m 32s",
      [120000] = "2m",
      [7500000] = "2h 5m",
      [273600000] = "3d 4h",
    }) do
      assert.equal(words, format.duration(ms))
    end
  end)

  it("says how much", function()
    for count, words in pairs({
      [0] = "0 B",
      [1023] = "1023 B",
      [1024] = "1.0 KiB",
      [1536] = "1.5 KiB",
      [12 * 1048576] = "12 MiB",
      [1048575] = "1.0 MiB",
    }) do
      assert.equal(words, format.bytes(count))
    end
  end)

  it("reads the daemon's times", function()
    assert.equal(0, format.time("1970-01-01T00:00:00.000Z"))
    assert.equal(1795339800123, format.time("2026-11-22T09:30:00.123Z"))
    assert.equal(1709164800000, format.time("2024-02-29T00:00:00Z"))
    assert.is_nil(format.time("yesterday"))
  end)

  it("says how a task stands in the daemon's words", function()
    local function stands(outcome, words, ended)
      return task({ shown = { title = "make", outcome = outcome, stands = words, ended = ended } })
    end
    local half = stands("running", "running")
    half.progress = { percent = 41 }
    for _, case in ipairs({
      { task(), "ok", "exit 0", "exited 0 after 4.0s" },
      {
        stands("timedOut", "timed out", "timed out after 4s"),
        "failed",
        "timed out",
        "timed out after 4s",
      },
      { stands("lost", "lost", "was lost"), "lost", "lost", "was lost" },
      {
        stands("queued", "queued, 2nd for build"),
        "running",
        "queued, 2nd for build",
        "queued, 2nd for build for 4.0s",
      },
      { half, "running", "running 41%", "running for 4.0s" },
    }) do
      assert.equal(case[2], format.outcome(case[1]))
      assert.equal(case[3], format.state(case[1]))
      assert.equal(case[4], format.ending(case[1]))
    end
  end)

  it("keeps control characters and reordering off the screen", function()
    assert.equal("a b\u{fffd}[31mc", format.one_line("a\n\tb\27[31mc "))
    assert.equal("x\u{fffd}y", format.one_line("x\u{202e}y"))
    assert.equal("x\u{fffd}y", format.one_line("x\u{2066}y"))
    assert.equal("“é–”…", format.one_line("“é–”…"))
  end)

  it("cuts by width on the screen, not by bytes", function()
    assert.equal("abc", format.cut("abc", 3))
    assert.equal("ab…", format.cut("abcd", 3))
    assert.equal("日…", format.cut("日本語", 4))
    assert.equal(3, vim.fn.strdisplaywidth(format.cut("日本語", 4)))
    assert.equal("", format.cut("abc", 0))
  end)

  it("draws the list, an agent's tasks marked as such", function()
    local list = require("meanwhile.ui.list")
    local now = format.time("2026-11-22T09:31:00.000Z")
    local tasks = {
      task({
        id = "aaaaaaaa",
        state = "running",
        exit = nil,
        durationMs = nil,
        queue = "0f9c1b2e-0000-4000-8000-000000000001",
        agent = true,
        progress = { percent = 40, message = "[40%] linking" },
        shown = { title = "make", outcome = "running", stands = "running" },
      }),
      task({
        label = "tests",
        exit = { code = 1 },
        endedAt = "2026-11-22T09:30:04.000Z",
        shown = { title = "tests", outcome = "failed", stands = "exit 1", notice = "error" },
      }),
      task({
        id = "cccccccc",
        state = "running",
        on = "build",
        durationMs = 3000,
        shown = { title = "make", outcome = "running", stands = "running" },
      }),
      task({
        id = "dddddddd",
        state = "running",
        durationMs = 3000,
        shown = {
          title = "make",
          outcome = "queued",
          stands = "queued, 1st for tests, behind b3f9c2a1 make, about 6 s",
        },
      }),
      task({
        id = "eeeeeeee",
        on = "attic",
        endedAt = "2026-11-22T09:30:54.000Z",
        shown = {
          title = "make",
          outcome = "lost",
          stands = "lost, attic out of reach",
          notice = "error",
        },
      }),
    }
    tasks[1].durationMs = nil
    local opts =
      { now = now, width = 96, icons = "ascii", filter = "", root = "/w", state = "ready" }
    local lines, _, rows = list.lines(tasks, opts)
    assert.same({
      " /w  3 running, 2 failed, 5 in all",
      " * running 40%      1m           (agent)  make                     ####...... linking  aaaaaaaa",
      " x exit 1         4.0s  56s ago  tests    make                                         b3f9c2a1",
      " * running        3.0s                    make                               at build  cccccccc",
      " * queued         3.0s                    make      1st for tests, behind b3f9c2a1 m…  dddddddd",
      " ? lost           4.0s  6s ago            make                     attic out of reach  eeeeeeee",
    }, lines)
    assert.same({ "b3f9c2a1", "eeeeeeee" }, { rows[3], rows[6] })
    -- A narrow window keeps the name and the state of a task.
    for _, width in ipairs({ 60, 80 }) do
      opts.width = width
      for row, line in ipairs(list.lines(tasks, opts)) do
        assert.truthy(vim.fn.strdisplaywidth(line) <= width, line)
        local name = ({
          "3 running, 2 failed",
          "running 40%%.*make",
          "exit 1.*tests",
          "make.*at build",
          "queued +3.0s.*make.*1st",
          "make.*attic out",
        })[row]
        assert.truthy(line:find(name), line)
      end
    end
    opts.filter = "agent"
    lines = list.lines(tasks, opts)
    assert.equal(2, #lines)
    assert.truthy(lines[1]:find("showing 1 with “agent”", 1, true))
  end)
end)
