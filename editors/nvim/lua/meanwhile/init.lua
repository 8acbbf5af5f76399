--- The Lua interface. Every function may be called at any time; those that need the daemon start it if it
--- is not running.

local M = {}

--- Sets options; `vim.g.meanwhile = {...}` does the same. Calling it is optional.
---@param opts? meanwhile.Opts
function M.setup(opts)
  vim.g.meanwhile = vim.tbl_deep_extend("force", require("meanwhile.config").given(), opts or {})
end

---@param opts meanwhile.SpawnOpts
---@return table params
local function params_of(opts)
  local command = opts.command or opts[1]
  vim.validate("command", command, { "string", "table" })
  local env
  for name, value in pairs(opts.env or {}) do
    env = env or {}
    env[name] = value == false and vim.NIL or value
  end
  local pty = opts.pty
  if pty == true then
    pty = require("meanwhile.ui.output").size()
  end
  return {
    command = command,
    cwd = opts.cwd and vim.fs.normalize(vim.fn.fnamemodify(opts.cwd, ":p")) or nil,
    env = env,
    label = opts.label,
    queue = opts.queue,
    slot = opts.slot,
    on = opts.on,
    deadlineMs = opts.deadline,
    stdin = opts.stdin and "pipe" or nil,
    pty = pty or nil,
    watch = opts.watch,
  }
end

--- Runs a command in the background.
---@param opts meanwhile.SpawnOpts|string
---@return meanwhile.Handle
function M.spawn(opts)
  if type(opts) == "string" then
    opts = { command = opts }
  end
  local workspace = require("meanwhile.workspace").get(opts.root)
  local handle = require("meanwhile.task").new(workspace)
  local efm = opts.errorformat
    or require("meanwhile.config").errorformat(opts.command or opts[1] or "")
  if opts.on_exit then
    handle:on_exit(opts.on_exit)
  end
  workspace:spawn(params_of(opts), function(err, task)
    if task then
      workspace.efm[task.id] = efm
    end
    handle:settle(err, task and task.id)
    if task and opts.stdin then
      local write = { id = task.id, data = opts.stdin, eof = true }
      -- Ignore errors: the command may exit without reading its input.
      workspace:request("task/write", write, function() end)
    end
    if task then
      require("meanwhile.quickfix").arrange(handle)
    end
  end)
  return handle
end

--- The tasks of a workspace that Neovim knows now: running ones first, then the newest.
---@param root? string default: the current workspace
---@return meanwhile.Task[]
function M.list(root)
  local workspace = require("meanwhile.workspace").get(root)
  if not workspace.fetched then
    workspace.connection:start()
  end
  return workspace:sorted()
end

--- Returns the handle of a task, by its id or the first characters of it.
---@param id string
---@param root? string
---@return meanwhile.Handle?
function M.get(id, root)
  local workspace = require("meanwhile.workspace").get(root)
  for known in pairs(workspace.tasks) do
    if vim.startswith(known, id) then
      return require("meanwhile.task").of(workspace, known)
    end
  end
  return nil
end

--- Takes the notifications that were not drained yet from the queue.
---@param done fun(notifications?: meanwhile.Notification[], err?: meanwhile.Error)
---@param opts? { queue?: string, max?: integer, root?: string }
function M.drain(done, opts)
  opts = opts or {}
  local workspace = require("meanwhile.workspace").get(opts.root)
  local params = { queue = opts.queue, max = opts.max }
  workspace:request("task/drain", params, function(err, result)
    done(result and result.notifications, err)
  end)
end

--- Starts the daemon of a workspace, if it is not running.
---@param root? string
function M.connect(root)
  require("meanwhile.workspace").get(root).connection:start()
end

--- For a statusline: how many tasks run, and how many have failed since the person last looked at the list;
--- empty if there are none. Does not start the daemon.
---@param root? string
---@return string
function M.statusline(root)
  -- Do not load the plugin only for the statusline.
  local spaces = package.loaded["meanwhile.workspace"]
  local workspace = spaces and spaces.all[spaces.root(root)]
  if not workspace then
    return ""
  end
  local format = require("meanwhile.format")
  local icons = require("meanwhile.config").get().icons
  local running = 0
  local only ---@type meanwhile.Task?
  for _, task in ipairs(workspace:sorted()) do
    if not format.ended(task) then
      running = running + 1
      only = task
    end
  end
  local parts = {}
  if running > 0 then
    local text = ("%s %d"):format(format.icon("running", icons), running)
    local progress = running == 1 and only and only.progress or {}
    local percent = progress.percent
    table.insert(parts, percent and ("%s %d%%%%"):format(text, percent) or text)
  end
  if workspace.seen_failures > 0 then
    table.insert(parts, ("%s %d"):format(format.icon("failed", icons), workspace.seen_failures))
  end
  if workspace.connection.state == "failed" then
    table.insert(parts, "meanwhile: no daemon")
  end
  return table.concat(parts, " ")
end

return M
