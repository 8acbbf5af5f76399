--- The tasks of one workspace as this Neovim knows them: what the daemon pushed, over what was
--- fetched. Owns no truth: after each start of the daemon everything is fetched again.
---
--- Everyone who shows something listens here. A task's end is announced exactly once, however it was
--- learned.

local Connection = require("meanwhile.connection")
local config = require("meanwhile.config")
local format = require("meanwhile.format")
local tell = require("meanwhile.tell")

local M = {}

---@alias meanwhile.Event "tasks"|"exited"|"forgotten"|"output"|"session"|"state"|"ready"

---@class meanwhile.Workspace
---@field root string
---@field connection meanwhile.Connection
---@field tasks table<string, meanwhile.Task>
---@field undelivered table<string, integer>
---@field fetched boolean whether the list has been fetched at all
---@field efm table<string, string> the errorformat by task id
---@field seen_failures integer failures since the person last looked
---@field latest? string the task that was started or ended last
---@field ask? fun(params: table): any, table? who answers requests for permission
---@field private stopped table<string, true|meanwhile.Task> stopped from here, with the end that came before
---the stop was answered
---@field private announced table<string, boolean>
---@field private listeners table<meanwhile.Event, table<function, true>>
---@field private dirty boolean
local Workspace = {}
Workspace.__index = Workspace

---@type table<string, meanwhile.Workspace>
M.all = {}

--- More than the daemon keeps of finished tasks by default.
local list_limit = 2000

--- The name that the daemon has for a directory: its real path.
---@param path string
---@return string
local function real(path)
  local root = vim.fs.normalize(vim.fn.fnamemodify(path, ":p"))
  return ((vim.uv.fs_realpath(root) or root):gsub("(.)/$", "%1"))
end

--- The directory that is the workspace: the one that is named, else the one that is chosen.
---@param path? string
---@return string
function M.root(path)
  local chosen = path or config.get().root
  if type(chosen) == "function" then
    chosen = chosen()
  end
  return real(chosen or vim.fn.getcwd())
end

--- The workspace of a directory, by default the current one. Starts nothing.
---@param path? string
---@return meanwhile.Workspace
function M.get(path)
  local root = M.root(path)
  if not M.all[root] then
    M.all[root] = Workspace.new(root)
  end
  return M.all[root]
end

---@param name string
---@param data table
local function autocmd(name, data)
  vim.api.nvim_exec_autocmds("User", { pattern = name, modeline = false, data = data })
end

---@param root string
---@return meanwhile.Workspace
function Workspace.new(root)
  local self = setmetatable({
    root = root,
    tasks = {},
    undelivered = {},
    fetched = false,
    efm = {},
    seen_failures = 0,
    stopped = {},
    announced = {},
    listeners = {},
    dirty = false,
  }, Workspace)
  self.connection = Connection.new(root, {
    ready = function()
      self:emit("ready")
      self:refresh()
    end,
    push = function(method, params)
      self:pushed(method, params)
    end,
    ask = function(_, params)
      if self.ask then
        return self.ask(params)
      end
      return { outcome = { outcome = "cancelled" } }
    end,
    state = function(state)
      self:emit("state", state)
      vim.schedule(function()
        vim.cmd.redrawstatus({ bang = true })
      end)
    end,
  })
  return self
end

--- Calls `fn` at each event, until what this returns is called.
---@param event meanwhile.Event
---@param fn fun(...)
---@return fun()
function Workspace:on(event, fn)
  self.listeners[event] = self.listeners[event] or {}
  self.listeners[event][fn] = true
  return function()
    self.listeners[event][fn] = nil
  end
end

---@param event meanwhile.Event
function Workspace:emit(event, ...)
  for fn in pairs(vim.tbl_extend("force", {}, self.listeners[event] or {})) do
    local ok, err = xpcall(fn, debug.traceback, ...)
    if not ok then
      vim.schedule(function()
        vim.notify("meanwhile: " .. err, vim.log.levels.ERROR)
      end)
    end
  end
end

--- Tells the listeners that something about the tasks changed, many changes at once.
---@private
function Workspace:touch()
  if self.dirty then
    return
  end
  self.dirty = true
  vim.defer_fn(function()
    self.dirty = false
    self:emit("tasks")
    vim.cmd.redrawstatus({ bang = true })
  end, 30)
end

--- Takes a task in. What has ended does not run again, whatever an older message says.
---@private
---@param task meanwhile.Task
---@param notification? meanwhile.Notification
function Workspace:absorb(task, notification)
  local old = self.tasks[task.id]
  if old and format.ended(old) and not format.ended(task) then
    return
  end
  -- A step that became a task does not become a step again.
  if old and not format.is_step(old) then
    task.role = nil
  end
  self.tasks[task.id] = task
  local moved = old ~= nil and format.is_step(old) and not format.is_step(task)
  if (not old or moved) and not format.ended(task) and not format.is_step(task) then
    if not task.agent then
      self.latest = task.id
    end
    autocmd("MeanwhileTaskStarted", { task = task, root = self.root })
  end
  local ran = old ~= nil and not format.ended(old)
  if format.ended(task) and (ran or notification) and not self.announced[task.id] then
    self.announced[task.id] = true
    self:announce(task, notification)
  end
  self:touch()
end

---@private
---@param task meanwhile.Task
---@param notification? meanwhile.Notification
function Workspace:announce(task, notification)
  local ours = not task.agent
  if ours then
    self.latest = task.id
  end
  local outcome = format.outcome(task)
  if ours and (outcome == "failed" or outcome == "lost") then
    self.seen_failures = self.seen_failures + 1
  end
  -- Who stops a task by hand is told by the stop, unless that fails.
  if self.stopped[task.id] then
    self.stopped[task.id] = task
  else
    tell.ended(task)
  end
  self:emit("exited", task, notification)
  if not format.is_step(task) then
    autocmd("MeanwhileTaskExited", { task = task, notification = notification, root = self.root })
  end
end

---@private
---@param method string
---@param params table
function Workspace:pushed(method, params)
  local waited = self.tasks[params.id] and self.tasks[params.id].waitsForInput
  if waited and (method == "task/output" or method == "task/progress") then
    -- It goes on; how it stands now the daemon says.
    self.tasks[params.id].waitsForInput = nil
    self:check(params.id)
  end
  if method == "$/cancelRequest" then
    require("meanwhile.ui.permission").withdraw(params.id)
  elseif method == "task/output" then
    self:emit("output", params)
  elseif method == "task/started" then
    self:absorb(params.task)
  elseif method == "task/progress" then
    local task = self.tasks[params.id]
    if task then
      task.progress = { percent = params.percent, message = params.message }
      self:touch()
    end
  elseif method == "task/exited" then
    self:absorb(params.notification.task, params.notification)
  elseif method == "task/notified" then
    local notification = params.notification
    local task = notification.task
    self:absorb(task)
    local stalled = notification.kind == "stalled"
    if stalled then
      tell.stalled(task)
    end
    local name = stalled and "MeanwhileTaskStalled" or "MeanwhileTaskMatched"
    autocmd(name, { task = task, notification = notification, root = self.root })
  elseif method == "tasks/changed" then
    self:changed(params)
  elseif vim.startswith(method, "session/") then
    self:emit("session", method, params)
  end
end

--- A full snapshot of what runs: what we know otherwise is asked for.
---@private
---@param params { running: string[], undelivered: table<string, integer> }
function Workspace:changed(params)
  self.undelivered = params.undelivered or {}
  local running = {}
  for _, id in ipairs(params.running) do
    running[id] = true
    if not self.tasks[id] then
      self:check(id)
    end
  end
  for id, task in pairs(self.tasks) do
    if not format.ended(task) and not running[id] then
      self:check(id)
    end
  end
  self:touch()
end

--- The daemon knows a task no more: nothing is kept of it.
---@private
---@param id string
function Workspace:forget(id)
  self.tasks[id], self.efm[id], self.stopped[id], self.announced[id] = nil, nil, nil, nil
  self:emit("forgotten", id)
  self:touch()
end

--- Asks for one task.
---@param id string
---@param done? fun(err?: meanwhile.Error, task?: meanwhile.Task)
function Workspace:check(id, done)
  self:request("task/check", { id = id, tailBytes = 0 }, function(err, result)
    if err and err.code == 1001 then
      self:forget(id)
    elseif result then
      self:absorb(result.task)
    end
    if done then
      done(err, result and result.task)
    end
  end, { again = true })
end

--- Fetches the whole list.
---@param done? fun(err?: meanwhile.Error)
function Workspace:refresh(done)
  -- What comes while the list is on its way is not missing from it.
  local known = vim.tbl_keys(self.tasks)
  self:request("task/check", { limit = list_limit, steps = true }, function(err, result)
    if result then
      local there = {}
      for _, task in ipairs(result.tasks) do
        there[task.id] = true
        self:absorb(task)
      end
      for _, id in ipairs(known) do
        if not there[id] then
          self:forget(id)
        end
      end
      self.fetched = true
      self:touch()
    end
    if done then
      done(err)
    end
  end, { again = true })
end

---@param method string
---@param params table
---@param done fun(err?: meanwhile.Error, result?: any)
---@param opts? meanwhile.RequestOpts
function Workspace:request(method, params, done, opts)
  self.connection:request(method, params, done, opts)
end

--- The answer, where there is a daemon that gives it within a second: for what cannot go on without it.
---@param method string
---@param params table
---@return any?
function Workspace:await(method, params)
  local answer
  if not vim.list_contains({ "idle", "failed" }, self.connection.state) then
    self:request(method, params, function(_, result)
      answer = result or {}
    end, { again = true })
    vim.wait(1000, function()
      return answer
    end, 5)
  end
  return answer
end

--- What runs, of that what waits for input, then the newest. Without the steps of agents' turns.
---@return meanwhile.Task[]
function Workspace:sorted()
  local tasks = vim.tbl_filter(function(task)
    return not format.is_step(task)
  end, vim.tbl_values(self.tasks))
  table.sort(tasks, function(a, b)
    local a_runs, b_runs = not format.ended(a), not format.ended(b)
    local a_waits, b_waits = a.waitsForInput == true, b.waitsForInput == true
    if a_runs ~= b_runs then
      return a_runs
    elseif a_waits ~= b_waits then
      return a_waits
    elseif a.createdAt ~= b.createdAt then
      return a.createdAt > b.createdAt
    end
    return a.id < b.id
  end)
  return tasks
end

--- What a spawn has to say of the environment: what the person, or a plugin that chooses a virtual
--- environment, has changed in Neovim since the daemon was started. A task gets keys of models only if
--- it is given them by name, so those are not among it.
---@param started table<string, string>
---@param now table<string, string>
---@param secrets string[] the variables that hold keys, as the daemon names them
---@return table<string, any> env
function M.changed_environment(started, now, secrets)
  local env = {}
  for name, value in pairs(now) do
    if started[name] ~= value then
      env[name] = value
    end
  end
  for name in pairs(started) do
    if now[name] == nil then
      env[name] = vim.NIL
    end
  end
  for _, name in ipairs(secrets) do
    env[name] = nil
  end
  return env
end

--- Starts a task. It can be sent twice: the token makes it one task.
---@param params table as `task/spawn` has them
---@param done fun(err?: meanwhile.Error, task?: meanwhile.Task)
function Workspace:spawn(params, done)
  params.clientToken = params.clientToken
    or ("nvim-%d-%d-%d"):format(vim.fn.getpid(), vim.uv.hrtime(), math.random(2 ^ 31))
  local asked = params.env or {}
  local now = vim.tbl_extend("force", vim.fn.environ(), config.get().env)
  local function prepare(capability, started)
    local env = M.changed_environment(started, now, capability.secretVariables)
    -- What is changed here means nothing on another machine.
    env = params.on and asked or vim.tbl_extend("force", env, asked)
    params.env = next(env) and env or nil
  end
  self:request("task/spawn", params, function(err, result)
    if err then
      return done(err)
    end
    local task = result.task
    if not self.tasks[task.id] and format.ended(task) then
      -- The daemon died over it, and it was quicker than the next one.
      self.tasks[task.id] = vim.tbl_extend("force", task, { state = "running" })
    end
    self:absorb(task)
    done(nil, self.tasks[task.id])
  end, { again = true, prepare = prepare })
end

--- Stops a task and everything it started. `done` comes when the whole tree is gone.
---@param id string
---@param opts? { signal?: string, grace?: integer }
---@param done? fun(err?: meanwhile.Error, task?: meanwhile.Task)
function Workspace:stop(id, opts, done)
  opts = opts or {}
  local params = { id = id, signal = opts.signal, graceMs = opts.grace }
  self:ending("task/stop", params, { again = true }, done)
end

--- Starts a task again as it was started, after stopping it where it runs. `done` gets the new one.
---@param id string
---@param done fun(err?: meanwhile.Error, task?: meanwhile.Task)
function Workspace:restart(id, done)
  -- Sent twice it would be two tasks.
  self:ending("task/restart", { id = id }, nil, done)
end

--- An end that the person asked for is not told, unless what was asked for failed.
---@private
---@param method string
---@param params table
---@param opts? meanwhile.RequestOpts
---@param done? fun(err?: meanwhile.Error, task?: meanwhile.Task)
function Workspace:ending(method, params, opts, done)
  local id = params.id
  self.stopped[id] = true
  self:request(method, params, function(err, result)
    if result then
      self:absorb(result.task)
    else
      local ended = self.stopped[id]
      self.stopped[id] = nil
      if type(ended) == "table" then
        tell.ended(ended)
      end
    end
    if done then
      done(err, result and result.task)
    end
  end, opts)
end

--- Forgets finished tasks, with their output.
---@param ids string[]
---@param done? fun(err?: meanwhile.Error, removed?: integer)
function Workspace:remove(ids, done)
  self:request("task/remove", { ids = ids }, function(err, result)
    self:refresh()
    if done then
      done(err, result and result.removed)
    end
  end, { again = true })
end

--- Reads output; what is more than one reply holds is asked for again.
---@param id string
---@param from integer
---@param to integer
---@param encoding "utf8"|"base64"
---@param part fun(read: meanwhile.Read)
---@param done fun(err?: meanwhile.Error, next: integer)
function Workspace:read(id, from, to, encoding, part, done)
  if from >= to then
    return done(nil, from)
  end
  local params = { id = id, offset = from, limit = math.min(to - from, 1024 * 1024) }
  params.encoding = encoding
  self:request("task/read", params, function(err, read)
    if err then
      return done(err, from)
    end
    part(read)
    if read.eof or read.nextOffset <= from then
      return done(nil, read.nextOffset)
    end
    self:read(id, read.nextOffset, to, encoding, part, done)
  end, { again = true })
end

return M
