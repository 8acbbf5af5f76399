--- One daemon for one workspace: starts it as an LSP client without buffers, restarts it when it dies, and
--- calls each request's `done` exactly once, even then.
---
--- Does not know about tasks. When a daemon dies, no task and no result is lost, so a restart is silent;
--- only a daemon that keeps dying is reported, once.

local binary = require("meanwhile.binary")
local config = require("meanwhile.config")
local tell = require("meanwhile.tell")

---@alias meanwhile.ConnectionState "idle"|"starting"|"ready"|"waiting"|"failed"

---@class meanwhile.Request
---@field method string
---@field params table
---@field done fun(err?: meanwhile.Error, result?: any)
---@field again boolean whether it can be sent twice
--- Completes `params` before each sending, from the daemon's capability and environment.
---@field prepare? fun(capability: table, environment: table<string, string>)

---@class meanwhile.RequestOpts
---@field again? boolean sent again if the daemon dies before it answers
---@field prepare? fun(capability: table, environment: table<string, string>)

---@class meanwhile.Listener
---@field ready fun(capability: table)
---@field push fun(method: string, params: table)
---@field ask fun(method: string, params: table): any, table? handles a request of the daemon; may yield
---@field state fun(state: meanwhile.ConnectionState)

---@class meanwhile.Connection
---@field root string
---@field state meanwhile.ConnectionState
---@field problem? string why the state is `failed`
---@field binary meanwhile.Binary set once found
---@field client_id? integer
---@field capability? table
---@field restarts integer
---@field environment? table<string, string> the environment of the daemon
---@field private listener meanwhile.Listener
---@field private queued meanwhile.Request[]
---@field private sent table<meanwhile.Request, true>
---@field private deaths number[] when daemons died, by `vim.uv.now`
---@field private generation integer
local Connection = {}
Connection.__index = Connection

--- After how many deaths within a minute the daemon is still restarted silently.
local patience = 5
local minute = 60000
--- The member of `features` that the plugin needs; older daemons do not have it.
local needed = "session/turn.prompt"
--- The protocol version of the plugin.
local protocol = 1

---@param root string
---@param listener meanwhile.Listener
---@return meanwhile.Connection
function Connection.new(root, listener)
  return setmetatable({
    root = root,
    state = "idle",
    restarts = 0,
    listener = listener,
    queued = {},
    sent = {},
    deaths = {},
    generation = 0,
  }, Connection)
end

---@private
---@param state meanwhile.ConnectionState
function Connection:become(state)
  if self.state ~= state then
    self.state = state
    self.listener.state(state)
  end
end

--- Starts the daemon if it is not running. The listener gets the result.
function Connection:start()
  if self.state ~= "idle" and self.state ~= "failed" and self.state ~= "waiting" then
    return
  end
  self.problem = nil
  self:become("starting")
  self.generation = self.generation + 1
  local generation = self.generation
  binary.resolve(config.get().binary, function(found, problem)
    if generation ~= self.generation then
      return
    elseif not found then
      return self:fail(problem or "no binary")
    end
    self.binary = found
    self:launch(generation)
  end)
end

---@private
---@param generation integer
function Connection:launch(generation)
  local opts = config.get()
  local linger = opts.linger
  if linger == false then
    linger = vim.NIL
  end
  local function current()
    return generation == self.generation
  end
  local handlers = setmetatable({}, {
    -- Handles every push and request of the daemon by prefix, so that new methods need no change here.
    __index = function(_, method)
      local kind = tostring(method):match("^%a+/")
      local ours = vim.list_contains({ "task/", "tasks/", "session/" }, kind)
      if not ours and method ~= "$/cancelRequest" then
        return nil
      end
      if method == "session/request_permission" then
        return function(_, params)
          return self.listener.ask(method, params)
        end
      end
      return function(_, params)
        if current() then
          self.listener.push(method, params)
        end
      end
    end,
  })
  self.environment = vim.tbl_extend("force", vim.fn.environ(), opts.env)
  local started, client_id = pcall(vim.lsp.start, {
    name = "meanwhile",
    root_dir = self.root,
    workspace_folders = { { uri = vim.uri_from_fname(self.root), name = self.root } },
    capabilities = { window = { workDoneProgress = opts.progress } },
    init_options = { queue = opts.queue, lingerMs = linger, notify = { "timeline", "state" } },
    handlers = handlers,
    cmd = function(dispatchers)
      ---@type vim.lsp.rpc.Dispatchers
      local wrapped = vim.tbl_extend("force", dispatchers, {
        -- This module restarts the daemon and reports its death, so the LSP client gets exit code 0.
        on_exit = function(code, signal)
          vim.schedule(function()
            if current() then
              self:died(code, signal)
            end
          end)
          dispatchers.on_exit(0, 0)
        end,
      })
      local command = { self.binary.path, "serve" }
      return vim.lsp.rpc.start(command, wrapped, { cwd = self.root, env = opts.env })
    end,
    on_init = vim.schedule_wrap(function(client, result)
      if current() then
        self:initialized(client, result)
      end
    end),
  }, {
    attach = false,
    silent = true,
    reuse_client = function()
      return false
    end,
  })
  if not started or not client_id then
    local why = started and "it could not be executed" or tostring(client_id)
    return self:fail(("cannot start `%s serve` in %s: %s"):format(self.binary.path, self.root, why))
  end
  self.client_id = client_id
end

---@private
---@param client vim.lsp.Client
---@param result table
function Connection:initialized(client, result)
  local capability = vim.tbl_get(result, "capabilities", "experimental", "meanwhile")
  local speaks = capability and capability.protocolVersion == protocol
  if not speaks or not vim.list_contains(capability.features or {}, needed) then
    local spoken = speaks and ("%d without `%s`"):format(protocol, needed)
      or capability and capability.protocolVersion
      or "none"
    self.generation = self.generation + 1
    client:stop()
    return self:fail(
      (
        "`%s` (%s) speaks protocol version %s, and this plugin speaks %d: update the older of the two, or "
        .. "set `vim.g.meanwhile.binary`"
      ):format(self.binary.path, self.binary.version, spoken, protocol)
    )
  end
  self.capability = capability
  self:become("ready")
  self.listener.ready(capability)
  local queued = self.queued
  self.queued = {}
  for _, request in ipairs(queued) do
    self:send(request)
  end
end

--- Gives up until the person acts: reports the problem and fails all queued requests.
---@private
---@param problem string
function Connection:fail(problem)
  self.generation = self.generation + 1
  self.problem = problem
  self.client_id = nil
  self:become("failed")
  tell.fault(problem)
  local waiting = self.queued
  self.queued = {}
  for _, request in ipairs(waiting) do
    request.done({ code = -32099, message = problem, told = true })
  end
end

---@private
---@param code integer
---@param signal integer
function Connection:died(code, signal)
  self.generation = self.generation + 1
  self.client_id = nil
  local unanswered = vim.tbl_keys(self.sent)
  self.sent = {}
  for _, request in ipairs(unanswered) do
    if request.again then
      table.insert(self.queued, request)
    else
      request.done({
        code = -32099,
        message = "the daemon ended before it answered; it is started again",
      })
    end
  end
  local now = vim.uv.now()
  self.deaths = vim.tbl_filter(function(at)
    return now - at < minute
  end, self.deaths)
  table.insert(self.deaths, now)
  if #self.deaths > patience then
    local how = signal ~= 0 and "signal " .. signal or "exit code " .. code
    return self:fail(
      (
        "the daemon `%s` ended %d times within a minute (%s). Tasks go on. See `:checkhealth meanwhile` and "
        .. "`:Meanwhile log`, set `vim.g.meanwhile.binary` if it is the wrong one, then `:Meanwhile restart`"
      ):format(self.binary.path, #self.deaths, how)
    )
  end
  self:become("waiting")
  self.restarts = self.restarts + 1
  local generation = self.generation
  local pause = math.floor(50 * 2 ^ (#self.deaths - 1))
  vim.defer_fn(function()
    if generation == self.generation then
      self:start()
    end
  end, pause)
end

---@private
---@param request meanwhile.Request
function Connection:send(request)
  local client = self.client_id and vim.lsp.get_client_by_id(self.client_id)
  if not client then
    -- The daemon has just died, and `died` has not been called yet.
    table.insert(self.queued, request)
    return
  end
  if request.prepare then
    request.prepare(self.capability, self.environment)
  end
  self.sent[request] = true
  local generation = self.generation
  local ok = client.rpc.request(request.method, request.params, function(err, result)
    if generation == self.generation and self.sent[request] then
      self.sent[request] = nil
      request.done(err --[[@as meanwhile.Error?]], result)
    end
  end)
  if not ok and self.sent[request] then
    self.sent[request] = nil
    table.insert(self.queued, request)
  end
end

--- Sends a request to the daemon, starting it if needed. `done` is called exactly once.
---@param method string
---@param params table
---@param done fun(err?: meanwhile.Error, result?: any)
---@param opts? meanwhile.RequestOpts
function Connection:request(method, params, done, opts)
  if next(params) == nil then
    params = vim.empty_dict()
  end
  ---@type meanwhile.Request
  local request = {
    method = method,
    params = params,
    done = done,
    again = opts and opts.again or false,
    prepare = opts and opts.prepare,
  }
  if self.state == "ready" then
    return self:send(request)
  end
  table.insert(self.queued, request)
  if self.state == "idle" or self.state == "failed" then
    self.deaths = {}
    self:start()
  end
end

---@param method string
---@param params table
function Connection:notify(method, params)
  local client = self.client_id and vim.lsp.get_client_by_id(self.client_id)
  if client and self.state == "ready" then
    client.rpc.notify(method, params)
  end
end

--- Stops the daemon and starts a new one. Tasks keep running.
function Connection:restart()
  self.deaths = {}
  local client = self.client_id and vim.lsp.get_client_by_id(self.client_id)
  if client and (self.state == "ready" or self.state == "starting") then
    -- `died` then starts the next one.
    client:stop(true)
  else
    self:start()
  end
end

return Connection
