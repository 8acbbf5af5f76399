--- Real Neovims as child processes, each with its own workspace and state directory, driven over RPC and
--- read from their screens. A test fails if it leaves a process behind.

local M = {}

local here = vim.fn.fnamemodify(debug.getinfo(1, "S").source:sub(2), ":p:h")
M.plugin = vim.fn.fnamemodify(here, ":h")
M.checkout = vim.fn.fnamemodify(M.plugin, ":h:h")

local function binary()
  local path = vim.env.MEANWHILE_BIN
  if path then
    return vim.fn.fnamemodify(path, ":p")
  end
  local target = vim.env.CARGO_TARGET_DIR or (M.checkout .. "/target")
  return vim.fn.fnamemodify(target .. "/debug/meanwhile", ":p")
end
M.binary = binary()

--- How many milliseconds a condition may take to come true. Tests share the machine with builds.
M.patience = 20000

---@class Place a workspace with a state directory
---@field dir string
---@field root string
---@field env table<string, string>

---@type Place[]
local places = {}
local children = {}

--- @return Place
function M.place()
  local dir = assert(vim.uv.fs_mkdtemp(vim.uv.os_tmpdir() .. "/mw-nvim-XXXXXX"))
  local root = dir .. "/ws"
  vim.fn.mkdir(root, "p")
  vim.fn.mkdir(dir .. "/home", "p")
  local place = {
    dir = dir,
    root = root,
    env = {
      MEANWHILE_STATE_DIR = dir .. "/state",
      HOME = dir .. "/home",
      XDG_CONFIG_HOME = dir .. "/home/config",
      XDG_STATE_HOME = dir .. "/home/state",
      XDG_DATA_HOME = dir .. "/home/data",
      XDG_CACHE_HOME = dir .. "/home/cache",
      NVIM_LOG_FILE = dir .. "/home/nvim.log",
      ANTHROPIC_API_KEY = "",
      OPENAI_API_KEY = "",
      MEANWHILE_MODEL = "",
    },
  }
  table.insert(places, place)
  return place
end

--- Waits until a condition is true and returns what it returned.
---@generic T
---@param what string
---@param condition fun(): T?
---@param patience? integer
---@return T
function M.eventually(what, condition, patience)
  local value
  local ok = vim.wait(patience or M.patience, function()
    value = condition()
    return value
  end, 20)
  if not ok then
    error(("never happened: %s"):format(what), 2)
  end
  return value
end

--- Returns the processes whose environment contains a text.
---@param text string
---@return { pid: integer, command: string }[]
function M.processes(text)
  local found = {}
  for name in vim.fs.dir("/proc") do
    local pid = tonumber(name)
    if pid then
      local function read(file)
        local handle = io.open(("/proc/%d/%s"):format(pid, file), "rb")
        local data = handle and handle:read("*a") or ""
        if handle then
          handle:close()
        end
        return data or ""
      end
      if read("environ"):find(text, 1, true) then
        local command = vim.trim((read("cmdline"):gsub("%z", " ")))
        if command ~= "" then
          table.insert(found, { pid = pid, command = command })
        end
      end
    end
  end
  return found
end

--- Returns the daemons of a place, without children that a daemon has forked and that have not called exec.
---@param place Place
---@return integer[]
function M.daemons(place)
  local serving = {}
  for _, process in ipairs(M.processes("MEANWHILE_STATE_DIR=" .. place.dir)) do
    if process.command:match("^%S+ serve$") then
      serving[process.pid] = true
    end
  end
  local pids = {}
  for pid in pairs(serving) do
    local handle = io.open(("/proc/%d/stat"):format(pid), "rb")
    local stat = handle and handle:read("*a") or ""
    if handle then
      handle:close()
    end
    local parent = tonumber(stat:match("%) %S+ (%d+)"))
    if parent and not serving[parent] then
      table.insert(pids, pid)
    end
  end
  return pids
end

--- Runs the command line in a place.
---@param place Place
---@param ... string
---@return vim.SystemCompleted
function M.cli(place, ...)
  local env = vim.tbl_extend("force", {}, place.env)
  return vim.system({ M.binary, ... }, { cwd = place.root, env = env, text = true }):wait(30000)
end

---@class Gate a file that a command waits for
---@field path string
---@field wait string a shell command that waits until the gate is open
local Gate = {}
Gate.__index = Gate

---@param place Place
---@return Gate
function M.gate(place)
  local path = place.dir .. "/gate"
  local wait = ("until [ -e %s ]; do sleep 0.05; done"):format(path)
  return setmetatable({ place = place, path = path, wait = wait }, Gate)
end

--- Lets waiting commands continue.
function Gate:open()
  vim.fn.writefile({}, self.path)
end

--- Writes a script that waits for the gate and exits with its argument. No rule knows what a script does,
--- so the agent always asks for permission to run it.
---@return string command
function Gate:script()
  vim.fn.writefile({ self.wait .. "; echo built; exit $1" }, self.place.root .. "/wait.sh")
  return "sh wait.sh"
end

---@class Child
---@field place Place
---@field job integer
---@field ui? integer the job of the attached terminal
local Child = {}
Child.__index = Child
M.Child = Child

---@class ChildOpts
---@field config? table|string
---@field columns? integer
---@field lines? integer
---@field env? table
---@field binary? false
---@field ui? boolean
---@field notify? false

--- Starts a Neovim in a place. With `ui` a terminal is attached, which prompts that wait for a key need.
--- With `notify = false`, `vim.notify` is not replaced, and `told` stays empty.
---@param place Place
---@param opts? ChildOpts
---@return Child
function M.child(place, opts)
  opts = opts or {}
  local self = setmetatable({ place = place, opts = opts }, Child)
  local columns, lines = opts.columns or 100, opts.lines or 30
  self.errors = {}
  local env = vim.tbl_extend("force", place.env, opts.env or {})
  local address = ("%s/nvim-%d.sock"):format(place.dir, #children)
  self.job = vim.fn.jobstart({
    vim.v.progpath,
    "--clean",
    "--embed",
    "--headless",
    "--listen",
    address,
    "--cmd",
    "set rtp^=" .. M.plugin .. " shortmess+=I noswapfile",
    "--cmd",
    ("set columns=%d lines=%d"):format(columns, lines),
    "--cmd",
    "lua vim.g.notified = {}",
  }, {
    rpc = true,
    cwd = place.root,
    env = env,
    on_stderr = function(_, data)
      vim.list_extend(self.errors, data)
    end,
  })
  assert(self.job > 0, "Neovim was not started")
  self.pid = vim.fn.jobpid(self.job)
  table.insert(children, self)
  self:lua(
    [[
    local config, binary, columns, lines, hear = ...
    if type(config) == "string" then
      config = loadstring("return " .. config)()
    end
    if binary then
      config.binary = config.binary or binary
    end
    -- Commands of tests are short.
    config.notify_after = config.notify_after or 0
    vim.g.meanwhile = config
    vim.o.columns, vim.o.lines = columns, lines
    -- Told by anyone, in order; the built-in way of telling goes on.
    _G.told = {}
    if hear then
      local notify = vim.notify
      vim.notify = function(text, level, opts)
        table.insert(_G.told, { text = text, level = level or vim.log.levels.INFO })
        return notify(text, level, opts)
      end
    end
    _G.events = {}
    vim.api.nvim_create_autocmd("User", {
      pattern = "Meanwhile*",
      callback = function(event)
        table.insert(_G.events, { name = event.match, id = event.data.task and event.data.task.id })
      end,
    })
  ]],
    opts.config or vim.empty_dict(),
    opts.binary ~= false and M.binary or nil,
    columns,
    lines,
    opts.notify ~= false
  )
  if opts.ui then
    self.ui = vim.fn.jobstart(
      { vim.v.progpath, "--clean", "--remote-ui", "--server", address },
      { pty = true, width = columns, height = lines, env = env, cwd = place.root }
    )
    self:eventually("#vim.api.nvim_list_uis() == 1")
  end
  return self
end

--- Runs Lua in the child and returns its result.
---@param code string
function Child:lua(code, ...)
  return vim.fn.rpcrequest(self.job, "nvim_exec_lua", code, { ... })
end

---@param command string
function Child:cmd(command)
  return self:lua("vim.cmd(...)", command)
end

--- Sends keys as typed input.
---@param keys string
function Child:type(keys)
  return vim.fn.rpcrequest(self.job, "nvim_input", keys)
end

--- Runs Lua in the child once it can, without waiting for the result.
---@param code string
function Child:later(code, ...)
  vim.fn.rpcnotify(self.job, "nvim_exec_lua", code, { ... })
end

--- Whether the child is blocked waiting for a key. This request works even then.
---@return boolean
function Child:blocked()
  return vim.fn.rpcrequest(self.job, "nvim_get_mode").blocking
end

--- Returns the text of the screen.
---@return string
function Child:screen()
  return self:lua([[
    vim.cmd("redraw")
    local lines = {}
    for row = 1, vim.o.lines do
      local cells = {}
      for column = 1, vim.o.columns do
        cells[column] = vim.fn.screenstring(row, column)
      end
      lines[row] = (table.concat(cells):gsub("%s+$", ""))
    end
    return table.concat(lines, "\n")
  ]])
end

--- Returns the text of the current buffer.
---@return string
function Child:text()
  return self:lua("return table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), '\\n')")
end

--- Waits until the screen matches a Lua pattern.
---@param pattern string
---@return string screen
function Child:sees(pattern)
  local last
  local ok = vim.wait(M.patience, function()
    last = self:screen()
    return last:find(pattern) ~= nil
  end, 30)
  if not ok then
    error(("never on the screen: %s\n%s\nmessages: %s"):format(pattern, last, self:told()), 2)
  end
  return last
end

--- Returns all messages that `vim.notify` got.
---@return string
function Child:told()
  return self:lua([[
    return table.concat(vim.tbl_map(function(it) return it.text end, _G.told), "\n")
  ]])
end

--- Waits until the messages match a pattern.
---@param pattern string
---@return string
function Child:hears(pattern)
  local last
  local ok = vim.wait(M.patience, function()
    last = self:told()
    return last:find(pattern) ~= nil
  end, 30)
  if not ok then
    error(("never told: %s\n%s"):format(pattern, last), 2)
  end
  return last
end

--- Waits until a Lua expression is true in the child, and returns its value.
---@param code string
function Child:eventually(code, ...)
  local arguments = { ... }
  local value
  local ok = vim.wait(M.patience, function()
    value = self:lua("return " .. code, unpack(arguments))
    return value ~= vim.NIL and value
  end, 30)
  if not ok then
    error(("never true: %s (%s)\ntold: %s"):format(code, vim.inspect(value), self:told()), 2)
  end
  return value
end

--- Starts a task from the child and returns its id.
---@param command string|string[]
---@param opts? table
---@return string
function Child:spawn(command, opts)
  opts = vim.tbl_extend("force", { command = command }, opts or {})
  self:lua("_G.handle = require('meanwhile').spawn(...)", opts)
  return self:eventually("_G.handle.id or (_G.handle.error and error(_G.handle.error.message))")
end

--- Returns a task as the child knows it.
---@param id string
---@return table?
function Child:task(id)
  local task = self:lua("return require('meanwhile.workspace').get().tasks[...]", id)
  return task ~= vim.NIL and task or nil
end

--- Returns the log of the child's LSP clients.
---@return string
function Child:log()
  local path = self.place.dir .. "/home/state/nvim/lsp.log"
  local handle = io.open(path, "rb")
  local text = handle and handle:read("*a") or ""
  if handle then
    handle:close()
  end
  return text
end

--- Quits the child with `:qall!`.
function Child:quit()
  if self.job then
    pcall(vim.fn.rpcnotify, self.job, "nvim_command", "qall!")
    vim.fn.jobwait({ self.job }, 10000)
    vim.fn.jobstop(self.job)
    self.job = nil
  end
  self:close_ui()
end

---@private
function Child:close_ui()
  if self.ui then
    vim.fn.jobstop(self.ui)
    vim.fn.jobwait({ self.ui }, 10000)
    self.ui = nil
  end
end

--- Kills the child, as in a crash.
function Child:kill()
  vim.uv.kill(self.pid, "sigkill")
  vim.fn.jobwait({ self.job }, 10000)
  self.job = nil
  self:close_ui()
end

--- Ends all children and tasks of a test, and fails if errors occurred or processes are left.
function M.clean()
  local faults = {}
  for _, child in ipairs(children) do
    if child.job then
      -- A child that waits for a key answers no other request.
      local alive, blocked = pcall(child.blocked, child)
      if alive and blocked then
        child:type("<CR>")
      end
      local ok, errmsg = pcall(child.lua, child, "return vim.v.errmsg")
      if ok and errmsg ~= "" and errmsg:find("lua/meanwhile", 1, true) then
        table.insert(faults, "error in Neovim: " .. errmsg)
      end
    end
    child:quit()
    local stderr = vim.trim(table.concat(child.errors, "\n"))
    if stderr:find("lua/meanwhile", 1, true) then
      table.insert(faults, "standard error of Neovim: " .. stderr)
    end
  end
  children = {}
  for _, place in ipairs(places) do
    if vim.uv.fs_stat(place.dir .. "/state") then
      M.cli(place, "stop", "--all")
    end
    local left
    local gone = vim.wait(10000, function()
      left = M.processes("MEANWHILE_STATE_DIR=" .. place.dir)
      return #left == 0
    end, 30)
    if not gone then
      table.insert(faults, "left alive: " .. vim.inspect(left))
      for _, process in ipairs(left) do
        vim.uv.kill(process.pid, "sigkill")
      end
    end
    vim.fn.delete(place.dir, "rf")
  end
  places = {}
  if #faults > 0 then
    error(table.concat(faults, "\n"), 0)
  end
end

return M
