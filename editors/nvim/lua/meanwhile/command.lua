--- `:Meanwhile`: its subcommands and their completion.

local actions = require("meanwhile.actions")
local config = require("meanwhile.config")
local format = require("meanwhile.format")
local spaces = require("meanwhile.workspace")
local tell = require("meanwhile.tell")

local M = {}

---@class meanwhile.Invocation
---@field rest string what follows the subcommand, as typed
---@field bang boolean
---@field range integer
---@field line1 integer
---@field line2 integer

---@class meanwhile.Subcommand
---@field run fun(args: meanwhile.Invocation)
---@field complete? fun(lead: string, rest: string): string[]
---@field range? boolean

local failed = tell.failure

--- Replaces `%` and `#`, with the usual modifiers, by file names if they are words of their own. `date +%s`
--- and `printf '%s'` are not changed, and `\%` becomes `%`.
---@param command string
---@return string
function M.expand(command)
  local function replace(before, what, modifiers)
    local name = vim.fn.expand(what .. modifiers) --[[@as string]]
    if name == "" then
      return before .. what .. modifiers
    end
    return before .. vim.fn.shellescape(name)
  end
  local out, at = {}, 1
  while at <= #command do
    local before, what = command:sub(at - 1, at - 1), command:sub(at, at)
    local escaped = command:match("^\\[%%#]", at)
    if escaped then
      table.insert(out, escaped:sub(2))
      at = at + 2
    elseif (what == "%" or what == "#") and (at == 1 or before:match("[%s=]")) then
      local modifiers, after = "", at + 1
      while true do
        local modifier = command:match("^:[phtre~.]", after)
        if not modifier then
          break
        end
        modifiers, after = modifiers .. modifier, after + #modifier
      end
      local following = command:sub(after, after)
      local alone = following == "" or following:match("[%s;&|)>]") ~= nil
      local stem = modifiers:match(":[re]") ~= nil and following == "."
      local is_comment = what == "#" and following ~= "" and following:match("%s") ~= nil
      if (alone or stem) and not is_comment then
        table.insert(out, replace("", what, modifiers))
        at = after
      else
        table.insert(out, what)
        at = at + 1
      end
    else
      table.insert(out, what)
      at = at + 1
    end
  end
  return table.concat(out)
end

--- Parses `90`, `90s`, `10m` or `1h30m` as milliseconds.
---@param text string
---@return integer?
function M.milliseconds(text)
  if text:match("^%d+$") then
    return math.floor(tonumber(text) * 1000)
  end
  local units = { ms = 1, s = 1000, m = 60000, h = 3600000, d = 86400000 }
  local sum = 0
  local rest = text ---@type string?
  while rest and rest ~= "" do
    local number, unit, after = rest:match("^(%d+)(%a+)(.*)$")
    if not number or not units[unit] then
      return nil
    end
    sum, rest = sum + math.floor(tonumber(number) * units[unit]), after
  end
  return sum > 0 and sum or nil
end

local switches =
  vim.split("++label= ++cwd= ++deadline= ++queue= ++slot= ++on= ++pty ++pipe ++open", " ")

--- Splits text such as `++label=x ++pty make -j4` into options and the command.
---@param rest string
---@return table? opts
---@return string command_or_problem
function M.parse_run(rest)
  ---@type table<string, any>
  local opts = {}
  while true do
    local word, after = rest:match("^(%+%+%S+)%s*(.*)$")
    if not word or not after then
      return opts, rest
    end
    local name, value = word:match("^%+%+(%a+)=(.+)$")
    if word == "++open" then
      opts.open = true
    elseif word == "++pty" or word == "++pipe" then
      opts.pty = word == "++pty"
    elseif name == "deadline" and value then
      opts.deadline = M.milliseconds(value)
      if not opts.deadline then
        return nil, ("`%s` is not a time, expected one such as 90s or 1h30m"):format(value)
      end
    elseif value and vim.list_contains({ "label", "queue", "slot", "on" }, name) then
      opts[name] = value
    elseif name == "cwd" and value then
      opts.cwd = vim.fn.expand(value) --[[@as string]]
    else
      return nil,
        ("`%s` is not an option of run, expected one of %s"):format(
          word,
          table.concat(switches, " ")
        )
    end
    rest = after
  end
end

---@param opts meanwhile.SpawnOpts
---@param open boolean
local function spawn(opts, open)
  if opts.pty == nil and not opts.stdin then
    opts.pty = config.get().terminal
  end
  local handle = require("meanwhile").spawn(opts)
  handle:on_exit(function(_, err)
    failed(err)
  end)
  if open then
    handle:with_id(function(id)
      require("meanwhile.ui.output").open(handle.workspace, id, { stay = true })
    end)
  end
end

--- The words that start with `lead`.
---@param words string[]
---@param lead string
---@return string[]
function M.fitting(words, lead)
  return vim.tbl_filter(function(word)
    return vim.startswith(word, lead)
  end, words)
end

--- Asks where to run a command, if there are places and the person has not named one.
---@param opts meanwhile.SpawnOpts
---@param done fun()
local function where(opts, done)
  if opts.on then
    return done()
  end
  spaces.get():request("place/list", {}, function(_, result)
    if not result or #result.places == 0 then
      return done()
    end
    vim.ui.select(vim.list_extend({ { name = "this machine" } }, result.places), {
      prompt = "Run where?",
      format_item = function(place)
        return place.name .. (place.contact and ", no contact: " .. place.contact.reason or "")
      end,
    }, function(place, index)
      if place then
        opts.on = index > 1 and place.name or nil
        done()
      end
    end)
  end, { again = true })
end

---@param args meanwhile.Invocation
local function run(args)
  local opts, command = M.parse_run(args.rest)
  if not opts then
    return tell.fault(command)
  end
  local open = opts.open or args.bang
  opts.open = nil
  local lines
  if args.range > 0 then
    lines = vim.api.nvim_buf_get_lines(0, args.line1 - 1, args.line2, false)
  end
  if command ~= "" then
    opts.command = M.expand(command)
    opts.stdin = lines and table.concat(lines, "\n") .. "\n" or nil
    return spawn(opts, open)
  elseif lines then
    opts.command = table.concat(lines, "\n")
    if vim.trim(opts.command) == "" then
      return tell.warn("the range contains no command")
    end
    return spawn(opts, open)
  end
  vim.ui.input({ prompt = "Run: ", completion = "shellcmdline" }, function(text)
    if text and vim.trim(text) ~= "" then
      opts.command = M.expand(vim.trim(text))
      where(opts, function()
        spawn(opts, open)
      end)
    end
  end)
end

--- The notifications that a drain returned, as lines for a small window, oldest first.
---@param notifications meanwhile.Notification[]
---@return string[] lines
---@return meanwhile.Span[] spans
function M.drained(notifications)
  local lines, spans = {}, {}
  for _, notification in ipairs(notifications) do
    local task = notification.task
    local outcome = format.outcome(task)
    local what = format.ending(task)
    if notification.kind == "matched" then
      what = "output matched `" .. notification.match.id .. "`"
    elseif notification.kind == "stalled" then
      what = "seems to wait for input"
    end
    local icon = format.icon(outcome, config.get().icons)
    table.insert(lines, (" %s %s %s: %s"):format(icon, task.id, what, format.name(task)))
    local head = #(" %s %s"):format(icon, task.id)
    table.insert(spans, { #lines - 1, 1, head, format.highlight[outcome] })
    local text = notification.match and notification.match.line
      or notification.preview.tail ~= "" and notification.preview.tail
      or notification.preview.head
    local tail = require("meanwhile.quickfix").lines(text)
    for i = math.max(1, #tail - 2), #tail do
      table.insert(lines, "     " .. format.one_line(tail[i]))
      table.insert(spans, { #lines - 1, 0, -1, "MeanwhileDim" })
    end
  end
  return lines, spans
end

local function drain()
  local workspace = spaces.get()
  workspace:request("task/drain", { ack = "manual" }, function(err, result)
    if err then
      return failed(err)
    end
    local notifications = result.notifications
    if #notifications == 0 then
      return tell.info("nothing new")
    end
    local title = ("%d notifications since the last drain"):format(#notifications)
    if result.remaining > 0 then
      title = ("%s, %d more wait"):format(title, result.remaining)
    end
    require("meanwhile.ui.view").float(title, M.drained(notifications))
    workspace.seen_failures = 0
    -- Acknowledge the notifications only once they are on the screen.
    local through = notifications[#notifications].seq
    workspace:request("task/ack", { through = through }, failed, { again = true })
  end, { again = true })
end

local function log()
  vim.cmd("botright split " .. vim.fn.fnameescape(vim.lsp.log.get_filename()))
  vim.bo.readonly = true
  vim.cmd("normal! G")
end

---@param opts { running?: boolean, ended?: boolean }
---@return fun(lead: string): string[]
local function ids(opts)
  return function(lead)
    local words = {}
    for _, task in ipairs(spaces.get():sorted()) do
      local fits = (not opts.running or not format.ended(task))
        and (not opts.ended or format.ended(task))
      if fits then
        for _, word in ipairs({ task.id, task.label }) do
          if vim.startswith(word, lead) and not vim.list_contains(words, word) then
            table.insert(words, word)
          end
        end
      end
    end
    return words
  end
end

---@param text string
---@return string?
local function word(text)
  return text ~= "" and text or nil
end

--- A subcommand for the task that the argument names, by default the latest.
---@param prompt string
---@param use fun(workspace: meanwhile.Workspace, id: string)
local function of_one(prompt, use)
  return {
    run = function(args)
      local workspace = spaces.get()
      local opts = { prompt = prompt, latest = true }
      actions.choose(workspace, word(args.rest), opts, function(task)
        use(workspace, task.id)
      end)
    end,
    complete = ids({}),
  }
end

---@param lead string
---@return string[]
local function sessions(lead)
  return require("meanwhile.sessions").complete(spaces.get(), lead)
end

---@type table<string, meanwhile.Subcommand>
M.subcommands = {
  run = {
    range = true,
    run = run,
    complete = function(lead, rest)
      if vim.startswith(lead, "+") then
        local there = vim.startswith(lead, "++on=") and spaces.get():await("place/list", {}) or {}
        local words = vim.tbl_map(function(place)
          return "++on=" .. place.name
        end, there.places or {})
        return M.fitting(#words > 0 and words or switches, lead)
      end
      local _, command = M.parse_run(rest)
      local first = not command:find("%s")
      local kind = first and not lead:find("/", 1, true) and "shellcmd" or "file"
      return vim.fn.getcompletion(lead, kind)
    end,
  },
  list = {
    run = function()
      require("meanwhile.ui.list").open(spaces.get())
    end,
  },
  output = of_one("Output of", function(workspace, id)
    require("meanwhile.ui.output").open(workspace, id)
  end),
  stop = {
    run = function(args)
      local workspace = spaces.get()
      local function stop(task)
        workspace:stop(task.id, nil, function(err, now)
          if err or not now then
            return failed(err)
          end
          tell.info(("%s %s"):format(format.name(now), format.ending(now)))
        end)
      end
      if args.bang then
        local running = vim.tbl_filter(function(task)
          return not format.ended(task)
        end, workspace:sorted())
        vim.tbl_map(stop, running)
        if #running == 0 then
          tell.info("nothing runs")
        end
        return
      end
      actions.choose(workspace, word(args.rest), { prompt = "Stop", running = true }, stop)
    end,
    complete = ids({ running = true }),
  },
  drain = { run = drain },
  quickfix = of_one("Quickfix from", function(workspace, id)
    require("meanwhile.quickfix").fill(workspace, id)
  end),
  clear = {
    run = function()
      actions.clear(spaces.get())
    end,
  },
  timeline = {
    run = function(args)
      require("meanwhile.ui.timeline").open(spaces.get(), word(args.rest))
    end,
    complete = sessions,
  },
  chat = {
    run = function(args)
      require("meanwhile.ui.chat").open(spaces.get(), word(args.rest), args.bang)
    end,
    complete = sessions,
  },
  learn = {
    run = function(args)
      require("meanwhile.learn").open(word(args.rest))
    end,
    complete = function(lead)
      return M.fitting({ "1", "2", "3" }, lead)
    end,
  },
  log = { run = log },
  restart = {
    run = function()
      spaces.get().connection:restart()
    end,
  },
}

--- Runs `:Meanwhile ...`.
---@param cmd table the argument of an |nvim_create_user_command()| callback
function M.execute(cmd)
  local name, rest = cmd.args:match("^(%S+)%s*(.-)%s*$")
  name = name or "list"
  local subcommand = M.subcommands[name]
  if not subcommand then
    local known = vim.tbl_keys(M.subcommands)
    table.sort(known)
    return tell.fault(
      ("`%s` is not a subcommand, expected one of %s"):format(name, table.concat(known, ", "))
    )
  elseif cmd.range > 0 and not subcommand.range then
    return tell.fault(("`:Meanwhile %s` takes no range"):format(name))
  end
  subcommand.run({
    rest = rest or "",
    bang = cmd.bang,
    range = cmd.range,
    line1 = cmd.line1,
    line2 = cmd.line2,
  })
end

--- Completes `:Meanwhile ...`.
---@param lead string
---@param line string
---@param position integer
---@return string[]
function M.complete(lead, line, position)
  local typed = line:sub(1, position):match("Mea%a*!?%s+(.*)$") or ""
  local name, rest = typed:match("^(%S+)%s+(.*)$")
  if not name or not rest then
    local names = M.fitting(vim.tbl_keys(M.subcommands), lead)
    table.sort(names)
    return names
  end
  local subcommand = M.subcommands[name]
  return subcommand and subcommand.complete and subcommand.complete(lead, rest) or {}
end

return M
