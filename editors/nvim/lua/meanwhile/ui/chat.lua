--- The chat with the agent: the transcript above, the prompt below. The session lives in the daemon;
--- this module shows it, and loads it again after a restart of the daemon.

local config = require("meanwhile.config")
local draw = require("meanwhile.ui.chat_draw")
local format = require("meanwhile.format")
local keys = require("meanwhile.ui.chat_keys")
local permission = require("meanwhile.ui.permission")
local sessions = require("meanwhile.sessions")
local tell = require("meanwhile.tell")
local transcript = require("meanwhile.transcript")
local view = require("meanwhile.ui.view")

local M = {}

---@class meanwhile.Chat
---@field workspace meanwhile.Workspace
---@field session? string
---@field model? string
---@field log meanwhile.Transcript
---@field buf integer the transcript
---@field input integer the prompt
---@field drawn { item: meanwhile.Item, count: integer }[] items in the buffer, and their line counts
---@field sent { text: string }[] prompts whose turns have not started; the same text may be in it twice
---@field unsent string[] prompts to send once the session is open
---@field running boolean whether a turn runs
---@field loading boolean
---@field note? string
---@field pending boolean
---@field watched? meanwhile.Watched set while the session is only watched, not open here
---@field offs fun()[]
local Chat = {}
Chat.__index = Chat

---@type table<string, meanwhile.Chat> by root
local chats = {}

--- Returns the session of the open chat.
---@param workspace meanwhile.Workspace
---@return string?
function M.current(workspace)
  local chat = chats[workspace.root]
  return chat and chat.session
end

---@return boolean
function Chat:working()
  return self.running or #self.sent > 0
end

---@private
function Chat:soon()
  if not self.pending then
    self.pending = true
    vim.defer_fn(function()
      self.pending = false
      draw.draw(self)
    end, 30)
  end
end

---@private
---@param err meanwhile.Error
function Chat:failed(err)
  self.log:fault(sessions.explain(err))
  self:soon()
end

--- Reloads files that the agent may have changed, except those with unsaved changes.
local function reread()
  vim.schedule(function()
    if vim.fn.getcmdwintype() == "" then
      vim.cmd("silent! checktime")
    end
  end)
end

--- Notifies the person of the end of a turn, unless the chat is visible.
---@private
---@param problem? string why there is no answer
function Chat:answered(problem)
  if self:working() or config.get().notify == false or view.visible(self.buf) then
    return
  elseif problem then
    return tell.warn("the agent has not answered (:Meanwhile chat): " .. format.one_line(problem))
  end
  local title = self.log.title and ": " .. format.one_line(self.log.title) or ""
  tell.info("the agent has answered (:Meanwhile chat)" .. title)
end

--- Handles a push from the daemon.
---@private
---@param method string
---@param params table
function Chat:pushed(method, params)
  if params.sessionId ~= self.session then
    return
  end
  if method == "session/update" then
    self.note = nil
    self.log:apply(params.update)
    if params.update.status == "completed" and not self.loading then
      reread()
    end
  elseif method == "session/retrying" then
    self.log:void(params.call)
    self.note = params.says
  elseif method == "session/turn" then
    self.running = params.state == "started"
    if params.prompt then
      table.remove(self.sent, 1)
      self.log:prompt(params.prompt)
    elseif params.state == "ended" then
      self.note = nil
      self.log:close()
      local problem = params.error or params.says
      if problem then
        self.log:fault(problem)
      end
      if params.stopReason ~= "cancelled" and not self.watched then
        self:answered(problem)
      end
    end
  elseif method == "session/watched" then
    self.watched = params --[[@as meanwhile.Watched]]
    self.running = self.running and params.holder == "open"
  else
    return
  end
  self:soon()
end

--- Whether the person is in the chat, in Normal mode, and has not started a prompt.
---@private
---@return boolean
function Chat:ready_to_ask()
  local buf = vim.api.nvim_get_current_buf()
  local written = table.concat(vim.api.nvim_buf_get_lines(self.input, 0, -1, false))
  local here = buf == self.buf or (buf == self.input and vim.trim(written) == "")
  return here and vim.api.nvim_get_mode().mode == "n"
end

---@private
function Chat:ask_if_ready()
  if self.session then
    permission.next(self.session, self.buf, self:ready_to_ask())
  end
end

--- Closes the session, so that another process can open it. Its tasks keep running.
---@param next? string the session that the chat shows next
function Chat:leave(next)
  if self.session and self.session ~= next and self.workspace.connection.state == "ready" then
    permission.cancel(self.session)
    local params = { sessionId = self.session }
    -- A watched session is not open here, so there is nothing to close.
    local method = self.watched and "session/unwatch" or "session/close"
    self.workspace:request(method, params, function() end)
  end
end

--- Empties the transcript and the state of turns.
---@private
function Chat:reset()
  self.log = transcript.new()
  self.sent, self.running, self.note, self.watched = {}, false, nil, nil
end

--- Switches to a session and loads the whole conversation from the daemon.
---@param id string
function Chat:load(id)
  self:leave(id)
  self:become(id)
  self:reset()
  self.loading = true
  self:soon()
  self:open("session/load")
end

--- Opens the session, or watches it if another process has it open.
---@private
---@param method "session/load"|"session/resume"|"session/watch"
function Chat:open(method)
  local id = self.session
  local watches = method == "session/watch"
  local params = { sessionId = id }
  if not watches then
    params = { sessionId = id, cwd = self.workspace.root, mcpServers = {} }
  end
  self.workspace:request(method, params, function(err, result)
    if self.session ~= id then
      return
    elseif err and err.code == 1003 and not watches then
      return self:open("session/watch")
    end
    self.loading = false
    self.log:close()
    self.watched = watches and result or nil
    if err then
      if err.code == -32602 then
        -- The session was deleted: the next prompt starts a new one.
        self.session = nil
      end
      self:failed(err)
    else
      self.model = vim.tbl_get(result, "_meta", "meanwhile", "model") or self.model
      self:flush()
    end
    self:soon()
  end)
end

--- Starts a new session.
---@private
function Chat:begin()
  self.loading = true
  self:soon()
  self.workspace:request("session/new", {
    cwd = self.workspace.root,
    mcpServers = {},
  }, function(err, result)
    self.loading = false
    if err then
      if not err.told then
        self:failed(err)
      end
      self:give_back()
      return self:soon()
    end
    self:become(result.sessionId)
    self.model = vim.tbl_get(result, "_meta", "meanwhile", "model")
    self:soon()
    self:flush()
  end)
end

--- Sends the prompts that were written before the session was open.
---@private
function Chat:flush()
  local unsent = self.unsent
  self.unsent = {}
  for _, text in ipairs(unsent) do
    self:send(text)
  end
end

--- Puts unsent prompts back into the prompt window, if that is empty.
---@private
function Chat:give_back()
  local text = table.concat(self.unsent, "\n")
  self.unsent = {}
  local below = vim.api.nvim_buf_get_lines(self.input, 0, -1, false)
  if vim.trim(table.concat(below)) == "" then
    vim.api.nvim_buf_set_lines(self.input, 0, -1, false, vim.split(text, "\n", { plain = true }))
  end
end

--- Sends a prompt. If the session is only watched, opens it first.
---@param text string
function Chat:send(text)
  if self.watched and self.session then
    table.insert(self.unsent, text)
    if self.watched.holder == "open" then
      self:give_back()
      -- A message is cut to one line, so it begins with what to do.
      return tell.warn("not sent; `:Meanwhile! chat` begins another session: " .. self.watched.says)
    end
    self.loading, self.watched = true, nil
    return self:open("session/resume")
  end
  if self.loading or not self.session then
    table.insert(self.unsent, text)
    return self.loading or self:begin()
  end
  local prompt = { text = text }
  table.insert(self.sent, prompt)
  self:soon()
  for _, win in ipairs(vim.fn.win_findbuf(self.buf)) do
    vim.api.nvim_win_set_cursor(win, { vim.api.nvim_buf_line_count(self.buf), 0 })
  end
  local session = self.session
  self.workspace:request("session/prompt", {
    sessionId = session,
    prompt = { { type = "text", text = text } },
  }, function(err)
    if self.session ~= session or not err then
      return
    end
    local at = vim.iter(ipairs(self.sent)):find(function(_, one)
      return one == prompt
    end)
    if at then
      -- It was refused, and no turn started.
      table.remove(self.sent, at)
      self.log:prompt(text)
    elseif err.code == 1008 then
      -- The end of its turn has told this.
      return
    end
    self:failed(err)
    if not err.told then
      self:answered(sessions.explain(err))
    end
  end)
end

--- The path of a workspace's file: `draft` holds a prompt that was not sent when Neovim exited (the daemon
--- has no copy), `session` the id of the session that was open last.
---@param what "draft"|"session"
---@param root string
---@return string
local function file(what, root)
  local name = vim.fn.sha256(root):sub(1, 16)
  return ("%s/meanwhile/%s-%s"):format(vim.fn.stdpath("state"), what, name)
end

---@param path string
---@param lines string[]
---@return boolean ok
---@return any problem
local function write(path, lines)
  return pcall(function()
    vim.fn.mkdir(vim.fs.dirname(path), "p", tonumber("700", 8))
    assert(vim.fn.writefile(lines, path) == 0, "it cannot be written")
  end)
end

--- Sets the session of this chat, and stores it for the next Neovim.
---@private
---@param id string
function Chat:become(id)
  self.session = id
  -- If it cannot be stored, the next Neovim starts a new session.
  write(file("session", self.workspace.root), { id })
end

--- Stores the unsent prompt. An empty one leaves the file alone: another Neovim may have written it.
---@private
function Chat:keep_draft()
  local lines = vim.api.nvim_buf_get_lines(self.input, 0, -1, false)
  if vim.trim(table.concat(lines)) == "" then
    return
  end
  local draft = file("draft", self.workspace.root)
  local ok, problem = write(draft, lines)
  if not ok then
    local why = format.one_line(tostring(problem))
    tell.warn(("the unsent text is lost, %s: %s"):format(draft, why))
  end
end

--- Restores the stored prompt and deletes the file, so that the prompt does not return after it is sent.
---@private
function Chat:take_draft()
  local draft = file("draft", self.workspace.root)
  local read, lines = pcall(vim.fn.readfile, draft)
  if read then
    vim.fn.delete(draft)
    vim.api.nvim_buf_set_lines(self.input, 0, -1, false, lines)
  end
end

--- Sends the text of the prompt window.
function Chat:submit()
  local lines = vim.api.nvim_buf_get_lines(self.input, 0, -1, false)
  local text = vim.trim(table.concat(lines, "\n"))
  if text == "" then
    return
  end
  vim.cmd.stopinsert()
  vim.api.nvim_buf_set_lines(self.input, 0, -1, false, {})
  self:send(text)
end

--- Cancels the running turn; background tasks keep running.
function Chat:cancel()
  if self.session and self:working() then
    -- Leave open questions unanswered: the daemon withdraws them; after an answer it would call the model.
    self.workspace.connection:notify("session/cancel", { sessionId = self.session })
    self.note = "cancelling"
    draw.bar(self)
  end
end

--- Shows both windows, with the cursor in the prompt.
function Chat:show()
  local win = view.show(self.buf, config.get().chat.open)
  view.wrap(win)
  local input = vim.fn.win_findbuf(self.input)[1]
  if input and vim.api.nvim_win_get_tabpage(input) == vim.api.nvim_get_current_tabpage() then
    vim.api.nvim_set_current_win(input)
  else
    vim.cmd("belowright 5split")
    input = vim.api.nvim_get_current_win()
    vim.api.nvim_win_set_buf(input, self.input)
    view.plain(input)
    local bar = " prompt: <CR> sends, g? has the keys"
    vim.api.nvim_set_option_value("winbar", bar, { win = input, scope = "local" })
    vim.wo[input].wrap = true
    vim.wo[input].winfixheight = true
  end
  draw.bar(self)
end

---@param workspace meanwhile.Workspace
---@return meanwhile.Chat
local function make(workspace)
  local self = setmetatable({
    workspace = workspace,
    drawn = {},
    unsent = {},
  }, Chat)
  self:reset()
  self.buf = view.scratch("meanwhile://chat" .. workspace.root, "meanwhile-chat")
  self.input = view.scratch("meanwhile://prompt" .. workspace.root, "meanwhile-prompt")
  vim.bo[self.input].modifiable = true
  self:take_draft()
  pcall(vim.treesitter.start, self.buf, "markdown")
  keys.map(self)
  workspace.ask = function(params)
    return permission.request(params, function()
      vim.schedule(function()
        if params.sessionId == self.session and params.toolCall then
          local update = { sessionUpdate = "tool_call_update" }
          self.log:apply(vim.tbl_extend("keep", update, params.toolCall))
        end
        -- Show the tool call before asking about it.
        draw.draw(self)
        vim.cmd.redraw()
        local ready = self:ready_to_ask()
        if params.sessionId == self.session then
          permission.next(self.session, self.buf, ready)
        end
        if not ready or params.sessionId ~= self.session then
          local question = permission.question(params)
          tell.warn("may the agent " .. question .. "? (:Meanwhile chat)")
        end
      end)
    end)
  end
  local lost = false
  self.offs = {
    workspace:on("session", function(method, params)
      self:pushed(method, params)
    end),
    workspace:on("tasks", function()
      self.log:tasks_changed(function(id)
        return workspace.tasks[id]
      end)
      self:soon()
    end),
    workspace:on("state", function(state)
      if state == "waiting" and self.session then
        lost, self.loading = true, true
        permission.cancel(self.session)
        self:soon()
      elseif state == "failed" then
        -- No push will end the turn.
        self.loading, self.running, self.sent = false, false, {}
        self:soon()
      end
    end),
    workspace:on("ready", function()
      if lost and self.session then
        lost = false
        -- Load only now, after the requests to the old daemon have reported their failure.
        self:load(self.session)
      end
    end),
  }
  local group = vim.api.nvim_create_augroup("meanwhile-chat-" .. self.buf, { clear = true })
  local function keep()
    self:keep_draft()
  end
  vim.api.nvim_create_autocmd("VimLeavePre", { group = group, callback = keep })
  vim.api.nvim_create_autocmd("BufUnload", { group = group, buffer = self.input, callback = keep })
  for _, buf in ipairs({ self.buf, self.input }) do
    vim.api.nvim_create_autocmd({ "BufEnter", "WinEnter", "InsertLeave" }, {
      group = group,
      buffer = buf,
      callback = vim.schedule_wrap(function()
        self:ask_if_ready()
      end),
    })
  end
  vim.api.nvim_create_autocmd("BufWipeout", {
    group = group,
    callback = function(event)
      if event.buf ~= self.buf and event.buf ~= self.input then
        return
      end
      self:leave()
      for _, off in ipairs(self.offs) do
        off()
      end
      chats[workspace.root] = nil
      vim.api.nvim_del_augroup_by_id(group)
      vim.schedule(function()
        for _, buf in ipairs({ self.buf, self.input }) do
          if vim.api.nvim_buf_is_valid(buf) then
            vim.api.nvim_buf_delete(buf, { force = true })
          end
        end
      end)
    end,
  })
  return self
end

--- Opens the chat with the session named, else with the last one, else with a new one.
---@param workspace meanwhile.Workspace
---@param word? string the id of a session, or its first characters
---@param new? boolean a new session, even if one was open in this or an earlier Neovim
function M.open(workspace, word, new)
  local self = chats[workspace.root]
  if not self or not view.whole(self.buf) or not view.whole(self.input) then
    self = make(workspace)
    chats[workspace.root] = self
  end
  self:show()
  if word then
    sessions.resolve(workspace, word, function(id)
      if id ~= self.session then
        self:load(id)
      end
    end)
  elseif new or not self.session then
    local kept, last = pcall(vim.fn.readfile, file("session", workspace.root))
    if kept and last[1] and not new then
      return self:load(last[1])
    end
    vim.fn.delete(file("session", workspace.root))
    self:leave()
    self.session = nil
    self:reset()
    -- Connect now, so that the daemon is running when the first prompt starts the session.
    workspace.connection:start()
  end
  draw.draw(self)
end

return M
