--- A copy of the tasks of one workspace: fetched from the daemon, then updated by its pushes. After each
--- start of the daemon everything is fetched again.
---
--- The windows listen to the events of this module. It announces the end of a task exactly once, whether a
--- push or a response reported it.

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
---@field fetched boolean whether the list has been fetched once
---@field efm table<string, string> errorformats by task id
---@field seen_failures integer failed tasks since the person last looked at the list or an output
---@field latest? string the task that was started or ended last
---@field ask? fun(params: table): any, table? answers the daemon's requests for permission
---@field private stopped table<string, true|meanwhile.Task> tasks stopped from here; the ended task, if
---its end came before the response
---@field private announced table<string, boolean>
---@field private listeners table<meanwhile.Event, table<function, true>>
---@field private dirty boolean
local Workspace = {}
Workspace.__index = Workspace

---@type table<string, meanwhile.Workspace>
M.all = {}

--- More tasks than the daemon keeps by default.
local list_limit = 2000

--- The real path of a directory, which is its name in the daemon.
---@param path string
---@return string
local function real(path)
  local root = vim.fs.normalize(vim.fn.fnamemodify(path, ":p"))
  return ((vim.uv.fs_realpath(root) or root):gsub("(.)/$", "%1"))
end

--- The directory of the workspace: `path`, else the option `root`, else the current directory.
---@param path? string
---@return string
function M.root(path)
  local chosen = path or config.get().root
  if type(chosen) == "function" then
    chosen = chosen()
  end
  return real(chosen or vim.fn.getcwd())
end

--- The workspace of a directory (see `root`). Does not start the daemon.
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

--- Calls `fn` at each event. Returns a function that removes the listener.
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

--- Notifies the listeners of changed tasks, once for all changes within 30 ms.
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

--- Stores a task. An older message does not make an ended task run again.
---@private
---@param task meanwhile.Task
---@param notification? meanwhile.Notification
function Workspace:absorb(task, notification)
  local old = self.tasks[task.id]
  if old and format.ended(old) and not format.ended(task) then
    return
  end
  -- Once a step has become a background task, an older message does not make it a step again.
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
  if ours and task.shown.notice == "error" then
    self.seen_failures = self.seen_failures + 1
  end
  -- A person who stops a task learns its end from the response, unless that is an error.
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
  if method == "$/cancelRequest" then
    require("meanwhile.ui.permission").withdraw(params.id)
  elseif method == "task/output" then
    self:emit("output", params)
  elseif method == "task/started" or method == "task/state" then
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

--- Handles the list of all running tasks: checks each task whose state here differs from it.
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

--- Drops everything about a task that the daemon no longer has.
---@private
---@param id string
function Workspace:forget(id)
  self.tasks[id], self.efm[id], self.stopped[id], self.announced[id] = nil, nil, nil, nil
  self:emit("forgotten", id)
  self:touch()
end

--- Asks the daemon for the state of one task.
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
  -- Forget only tasks known before the request: newer ones may not be in the list.
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

--- Waits up to a second for the result, for callers that cannot be asynchronous. Does not start the daemon.
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

--- Tasks without steps of turns, in the daemon's order.
---@return meanwhile.Task[]
function Workspace:sorted()
  local tasks = vim.tbl_filter(function(task)
    return not format.is_step(task)
  end, vim.tbl_values(self.tasks))
  table.sort(tasks, function(a, b)
    return a.shown.order < b.shown.order
  end)
  return tasks
end

--- The environment that a spawn sends: the variables that the person or a plugin (say, for virtual
--- environments) has changed in Neovim since the daemon started. Variables with keys of models are left
--- out: a task gets those only if they are passed to it by name.
---@param started table<string, string>
---@param now table<string, string>
---@param secrets string[] the names of variables with keys, from the daemon
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

--- Starts a task. With the client token, a repeated request does not start a second task.
---@param params table the parameters of `task/spawn`
---@param done fun(err?: meanwhile.Error, task?: meanwhile.Task)
function Workspace:spawn(params, done)
  params.clientToken = params.clientToken
    or ("nvim-%d-%d-%d"):format(vim.fn.getpid(), vim.uv.hrtime(), math.random(2 ^ 31))
  local asked = params.env or {}
  local now = vim.tbl_extend("force", vim.fn.environ(), config.get().env)
  local function prepare(capability, started)
    local env = M.changed_environment(started, now, capability.secretVariables)
    -- This machine's environment does not apply on another one.
    env = params.on and asked or vim.tbl_extend("force", env, asked)
    params.env = next(env) and env or nil
  end
  self:request("task/spawn", params, function(err, result)
    if err then
      return done(err)
    end
    local task = result.task
    if not self.tasks[task.id] and format.ended(task) then
      -- The daemon died before it answered, and the task ended before the next daemon started.
      self.tasks[task.id] = vim.tbl_extend("force", task, { state = "running" })
    end
    self:absorb(task)
    done(nil, self.tasks[task.id])
  end, { again = true, prepare = prepare })
end

--- Stops a task and everything it started. `done` is called when the whole process tree has exited.
---@param id string
---@param opts? { signal?: string, grace?: integer }
---@param done? fun(err?: meanwhile.Error, task?: meanwhile.Task)
function Workspace:stop(id, opts, done)
  opts = opts or {}
  local params = { id = id, signal = opts.signal, graceMs = opts.grace }
  self:ending("task/stop", params, { again = true }, done)
end

--- Restarts a task with its original parameters, stopping it first if it runs. `done` gets the new task.
---@param id string
---@param done fun(err?: meanwhile.Error, task?: meanwhile.Task)
function Workspace:restart(id, done)
  -- Not repeated if the daemon dies: that could start two tasks.
  self:ending("task/restart", { id = id }, nil, done)
end

--- Sends a request that ends a task. The end is not reported to the person, unless the request fails.
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

--- Reads output, with as many requests as it takes.
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
