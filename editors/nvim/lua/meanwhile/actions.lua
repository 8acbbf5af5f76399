--- Actions on tasks that several modules need: restarting one, forgetting all finished ones, choosing one.

local config = require("meanwhile.config")
local format = require("meanwhile.format")
local tell = require("meanwhile.tell")

local M = {}

--- Restarts a task with its original parameters, after stopping it if it is running. Windows that show its
--- output then show that of the new task.
---@param workspace meanwhile.Workspace
---@param task meanwhile.Task
---@param done fun(err?: meanwhile.Error, id?: string)
function M.restart(workspace, task, done)
  local efm = workspace.efm[task.id]
  workspace:restart(task.id, function(err, new)
    if not new then
      return done(err)
    end
    workspace.efm[new.id] = efm
    require("meanwhile.quickfix").arrange(require("meanwhile.task").of(workspace, new.id))
    require("meanwhile.ui.output").replace(workspace, task.id, new.id)
    done(nil, new.id)
  end)
end

--- Forgets all finished tasks.
---@param workspace meanwhile.Workspace
function M.clear(workspace)
  local ids = {}
  for _, task in ipairs(workspace:sorted()) do
    if format.ended(task) then
      table.insert(ids, task.id)
    end
  end
  if #ids == 0 then
    return tell.info("no finished tasks")
  end
  workspace:remove(ids, function(err, removed)
    if err then
      return tell.failure(err)
    end
    tell.info(("forgot %d finished task%s"):format(removed, removed == 1 and "" or "s"))
  end)
end

--- The actions that keys run on a task, by name.
---@type table<string, fun(workspace: meanwhile.Workspace, task: meanwhile.Task)>
M.deeds = {
  open = function(workspace, task)
    require("meanwhile.ui.output").open(workspace, task.id)
  end,
  stop = function(workspace, task)
    if format.ended(task) then
      return tell.info(("%s has ended: %s"):format(format.name(task), format.state(task)))
    end
    workspace:stop(task.id, nil, function(err)
      -- 1004: the task has already ended.
      if not err or err.code ~= 1004 then
        tell.failure(err)
      end
    end)
  end,
  restart = function(workspace, task)
    M.restart(workspace, task, tell.failure)
  end,
  quickfix = function(workspace, task)
    require("meanwhile.quickfix").fill(workspace, task.id)
  end,
  details = function(_, task)
    require("meanwhile.ui.list").details(task)
  end,
  copy = function(_, task)
    vim.fn.setreg(vim.v.register, task.id)
    tell.info("copied " .. task.id)
  end,
  forget = function(workspace, task)
    if format.ended(task) then
      workspace:remove({ task.id }, tell.failure)
    else
      tell.warn("a running task is not removed; x stops it")
    end
  end,
}

--- Describes a task in one line, for a list to choose from.
---@param task meanwhile.Task
---@return string
function M.describe(task)
  local icon = format.icon(format.outcome(task), config.get().icons)
  local text = ("%s %s  %s, %s  %s"):format(
    icon,
    task.id,
    format.state(task),
    format.duration(format.elapsed(task)),
    format.name(task)
  )
  return format.cut(text, math.max(20, vim.o.columns - 6))
end

--- Calls `fn` with the task that `word` names: by its id, the first characters of it, or its label. Without
--- `word`, asks the person to choose if there are several tasks.
---@param workspace meanwhile.Workspace
---@param word string?
---@param opts { prompt: string, running?: boolean, latest?: boolean }
---@param fn fun(task: meanwhile.Task)
function M.choose(workspace, word, opts, fn)
  local function pick()
    ---@type meanwhile.Task[]
    local fitting = vim.tbl_filter(function(task)
      return (not opts.running or not format.ended(task))
        and (not word or vim.startswith(task.id, word) or task.label == word)
    end, workspace:sorted())
    local first = fitting[1]
    -- `sorted` leaves out the steps of agents' turns; the full id of a step still selects it.
    local step = word and workspace.tasks[word]
    if not first and step and not (opts.running and format.ended(step)) then
      return fn(step)
    end
    if word then
      if not first then
        return tell.warn(("no %stask `%s`"):format(opts.running and "running " or "", word))
      elseif #fitting == 1 or first.label == word then
        -- Of several tasks with this label, take the newest.
        return fn(first)
      end
    elseif opts.latest and workspace.latest and workspace.tasks[workspace.latest] then
      return fn(workspace.tasks[workspace.latest])
    end
    if not first then
      return tell.info(opts.running and "nothing runs" or "no tasks yet")
    elseif #fitting == 1 or opts.latest then
      return fn(first)
    end
    vim.ui.select(fitting, { prompt = opts.prompt, format_item = M.describe }, function(task)
      if task then
        fn(task)
      end
    end)
  end
  if workspace.fetched and workspace.connection.state == "ready" then
    return pick()
  end
  workspace:refresh(function(err)
    if err then
      return tell.failure(err)
    end
    pick()
  end)
end

return M
