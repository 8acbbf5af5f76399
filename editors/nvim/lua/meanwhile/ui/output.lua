--- The output of a task in a terminal buffer: colours, redrawn lines, scroll-back, and input for tasks
--- that take it.
---
--- Reads the end first and follows from there, so that any size opens at once; what came before is
--- read when it is asked for. Pushes that jump are filled by reading; a flood that is far ahead is
--- skipped, and says so. Errorformat and the API read the raw bytes, never this buffer.

local actions = require("meanwhile.actions")
local config = require("meanwhile.config")
local format = require("meanwhile.format")
local tell = require("meanwhile.tell")
local view = require("meanwhile.ui.view")

local M = {}

---@type { rows: integer, cols: integer }?
local seen

--- The size for a terminal that no window shows yet: that of the window seen last, else about what one
--- would have.
---@return { rows: integer, cols: integer }
function M.size()
  return seen or { rows = 15, cols = math.max(20, vim.o.columns) }
end

---@class meanwhile.Output
---@field workspace meanwhile.Workspace
---@field id string
---@field buf integer
---@field channel integer
---@field from integer the first byte shown
---@field next integer the byte after the last one shown
---@field pushed_to integer the byte after the last one that was pushed
---@field begun boolean whether it is known how much there is
---@field reading boolean
---@field ended boolean whether the end has been written
---@field grown boolean whether more came while it was read
---@field partial boolean whether the next piece begins in the middle of a line
---@field open_line boolean whether the last line has no end yet
---@field skipped boolean
---@field warned boolean
---@field claimed? { rows: integer, cols: integer } the size that the task was given last
local Output = {}
Output.__index = Output

---@type table<string, meanwhile.Output> by root and id
local outputs = {}

--- How far behind it may be before it skips to the end, in bytes.
local behind_most = 4 * 1024 * 1024
--- What one turn of the event loop feeds to the terminal, in bytes: some milliseconds of work.
local feed_bytes = 48 * 1024

--- Text of this client between the output, dim.
---@param text string
---@return string
local function note(text)
  return ("\27[0m\27[2m%s\27[0m\r\n"):format(text)
end

--- Newlines as a terminal wants them.
---@param text string
---@return string
local function returned(text)
  return (text:gsub("\n", "\r\n"))
end

---@param text string
function Output:write(text)
  if vim.api.nvim_buf_is_valid(self.buf) then
    vim.api.nvim_chan_send(self.channel, text)
  end
end

--- The line that ends it.
---@private
---@param task meanwhile.Task
function Output:finish(task)
  if self.ended then
    return
  end
  self.ended = true
  local colour = ({ ok = 32, failed = 31, lost = 31, stopped = 33 })[format.outcome(task)] or 0
  -- On a line of its own, whether or not the output ended with one.
  local lead = self.open_line and "\r\n" or ""
  self:write(("%s\27[0m\27[%dm[%s]\27[0m\r\n"):format(lead, colour, format.ending(task)))
end

---@private
---@param data string raw bytes
function Output:append(data)
  if self.partial and data ~= "" then
    self.partial = false
    data = data:sub((data:find("\n", 1, true) or 0) + 1)
  end
  if data ~= "" then
    self.open_line = data:sub(-1) ~= "\n"
    self:write(returned(data))
  end
end

--- Decoded bytes of a push or a reply.
---@param message { data: string, encoding: string }
---@return string
local function bytes_of(message)
  return message.encoding == "base64" and vim.base64.decode(message.data) or message.data
end

--- Reads up to the end, a piece a turn of the event loop.
---@private
function Output:catch_up()
  if self.reading then
    self.grown = true
    return
  end
  self.reading, self.grown = true, false
  local channel = self.channel
  local params = { id = self.id, offset = self.next, limit = feed_bytes, encoding = "base64" }
  self.workspace:request("task/read", params, function(err, read)
    if channel ~= self.channel then
      -- It was meant for the terminal before this one.
      return
    end
    self.reading = false
    if not vim.api.nvim_buf_is_valid(self.buf) then
      return
    elseif err then
      if not err.told then
        self:write(note("[" .. err.message .. "]"))
      end
      return
    end
    if read.gap then
      local lost = format.bytes(read.gap.to - read.gap.from)
      self:write((self.open_line and "\r\n" or "") .. note(("[%s were not kept]"):format(lost)))
      self.partial = true
    end
    self:append(bytes_of(read))
    local moved = read.nextOffset > self.next
    self.next = math.max(self.next, read.nextOffset)
    local task = self.workspace.tasks[self.id]
    -- How much there is the pushes say while it runs, and the task once it has ended.
    local total = math.max(self.pushed_to, task and task.output.total or 0)
    if total - self.next > behind_most then
      self:skip(total)
    elseif read.eof then
      if task and format.ended(task) then
        self:finish(task)
      else
        self.workspace:check(self.id, function(_, now)
          if channel == self.channel and now and format.ended(now) then
            self:finish(now)
          end
        end)
      end
      return
    end
    if moved or self.grown then
      -- The editor does what it has to do before the next piece.
      vim.defer_fn(function()
        self:catch_up()
      end, 1)
    end
  end, { again = true })
end

--- Leaves out what no eye can follow.
---@private
---@param total integer
function Output:skip(total)
  local to = total - config.get().output.tail
  if to > self.next then
    local skipped = format.bytes(to - self.next)
    self:write(("\r\n%s"):format(note(("[%s skipped; o reads them]"):format(skipped))))
    self.skipped, self.partial = true, true
    self.next = to
  end
end

---@private
---@param push { id: string, offset: integer, data: string, encoding: string }
function Output:pushed(push)
  if push.id ~= self.id then
    return
  end
  local data = bytes_of(push)
  self.pushed_to = math.max(self.pushed_to, push.offset + #data)
  if self.reading then
    self.grown = true
    return
  end
  if push.offset == self.next then
    self:append(data)
    self.next = push.offset + #data
  elseif push.offset + #data > self.next then
    if push.offset - self.next > behind_most then
      self:skip(push.offset + #data)
    end
    self:catch_up()
  end
end

--- Makes the terminal and reads from `from`.
---@private
---@param from integer
function Output:begin(from)
  self.from, self.next, self.ended, self.open_line = from, from, false, false
  self.reading, self.skipped = false, false
  -- The first piece most likely begins in the middle of a line.
  self.partial = from > 0
  if from > 0 then
    self:write(note(("[%s before this; o reads more of it]"):format(format.bytes(from))))
  end
  self:subscribe()
end

---@private
function Output:subscribe()
  self.workspace:request("task/subscribe", { id = self.id }, function(err)
    -- A task that ended needs none; what else is wrong the read says.
    if err and err.told then
      return
    end
    self:catch_up()
  end, { again = true })
end

--- Makes the buffer. Its windows are the caller's.
---@private
function Output:make()
  self.buf = vim.api.nvim_create_buf(false, true)
  vim.bo[self.buf].bufhidden = "hide"
  view.all_or_nothing(self.buf)
  self:map()
end

--- Makes the terminal, which takes the size of the window that shows the buffer.
---@private
function Output:terminal()
  vim.bo[self.buf].scrollback = config.get().output.scrollback
  self.channel = vim.api.nvim_open_term(self.buf, {
    on_input = function(_, _, _, data)
      self:input(data)
    end,
  })
  vim.bo[self.buf].filetype = "meanwhile-output"
end

--- Gives the task's terminal the size of the current window, where that shows it: of several that do,
--- here and in other editors, the one that a person looks at has the say. A daemon that does not run is not
--- started for that.
---@private
---@param looked boolean whether the person came to it: the size may be another's by now
function Output:claim(looked)
  local task = self.workspace.tasks[self.id]
  local info = vim.fn.getwininfo(vim.api.nvim_get_current_win())[1]
  if info.bufnr ~= self.buf or not task or format.ended(task) then
    return
  end
  local rows, cols = math.max(1, info.height), math.max(1, info.width - info.textoff)
  seen = { rows = rows, cols = cols }
  if self.workspace.connection.state ~= "ready" then
    self.claimed = nil
    return
  elseif not looked and vim.deep_equal(self.claimed, seen) then
    return
  end
  self.claimed = seen
  -- A task without a terminal has no size, and a server of version 0.1.0 knows no such order.
  local params = { id = self.id, rows = rows, cols = cols }
  self.workspace:request("task/resize", params, function() end)
end

--- Keys of terminal mode, and what the terminal answers to a program that asks it something.
---@private
---@param data string
function Output:input(data)
  local task = self.workspace.tasks[self.id]
  if not task or format.ended(task) then
    return
  end
  local typed = vim.api.nvim_get_mode().mode == "t"
  local params = { id = self.id, data = data }
  self.workspace:request("task/write", params, function(err)
    if err and typed and not self.warned then
      self.warned = true
      vim.cmd.stopinsert()
      tell.warn(
        err.code == -32602 and "this task takes no input (it was started without a terminal)"
          or err.message
      )
    end
  end)
end

--- Reads more of what came before: twice as much each time.
---@private
function Output:earlier()
  if self.from == 0 and not self.skipped then
    return tell.info("this is all of it")
  end
  local tail = config.get().output.tail
  local shown = math.max(tail, self.next - self.from)
  local from = self.skipped and self.from or math.max(0, self.from - math.max(4 * tail, shown))
  local old, windows = self.buf, vim.fn.win_findbuf(self.buf)
  self:make()
  -- The windows change over when there is something to see.
  for _, win in ipairs(windows) do
    vim.api.nvim_win_set_buf(win, self.buf)
    view.plain(win)
  end
  self:terminal()
  vim.api.nvim_buf_delete(old, { force = true })
  self:name()
  self:begin(from)
end

---@param deed string
function Output:do_(deed)
  local task = self.workspace.tasks[self.id]
  if task then
    actions.deeds[deed](self.workspace, task)
  end
end

---@private
function Output:map()
  view.map(self.buf, "Output", self, {
    { "o", "earlier", "read more of what came before" },
    { "x", "do_", "stop the task", "stop" },
    { "r", "do_", "run it again", "restart" },
    { "Q", "do_", "fill the quickfix list", "quickfix" },
    { "K", "do_", "show details", "details" },
  })
end

--- The window's bar: what runs here, and how it stands.
---@private
function Output:bar()
  local task = self.workspace.tasks[self.id]
  if not task or not vim.api.nvim_buf_is_valid(self.buf) then
    return
  end
  view.bar(self.buf, ("%s · %s"):format(format.name(task), format.state(task)))
end

---@private
function Output:name()
  local task = self.workspace.tasks[self.id]
  view.name(self.buf, "meanwhile://output/" .. self.id)
  if task then
    vim.b[self.buf].term_title = format.name(task)
    -- For `gf` and `gF`: names in an output are relative to where the command ran.
    vim.bo[self.buf].path = vim.fn.escape(task.cwd, "\\ ,") .. ",,"
  end
  self:bar()
end

--- Asks how much there is, and begins with the end of that.
---@private
function Output:start()
  if self.reading then
    return
  end
  self.reading = true
  self.workspace:check(self.id, function(err, task)
    self.reading = false
    if not vim.api.nvim_buf_is_valid(self.buf) then
      return
    elseif err or not task then
      return err and self:write(note("[" .. err.message .. "]"))
    end
    self.begun = true
    self:name()
    self:begin(math.max(0, task.output.total - config.get().output.tail))
  end)
end

--- Follows the task until the buffer is gone.
---@private
---@param key string
function Output:follow(key)
  local workspace = self.workspace
  local offs = {
    workspace:on("output", function(push)
      self:pushed(push)
    end),
    workspace:on("tasks", function()
      self:bar()
    end),
    workspace:on("exited", function(task)
      if task.id == self.id and self.begun then
        self:catch_up()
      end
    end),
    workspace:on("ready", function()
      if not self.begun then
        self:start()
      elseif not self.ended then
        -- A new daemon knows nothing of our subscription. A read that the old one did not answer is
        -- sent again by itself.
        self:subscribe()
      end
      self:claim(false)
    end),
  }
  local sizes = vim.api.nvim_create_autocmd(
    { "WinEnter", "BufWinEnter", "WinResized", "FocusGained" },
    {
      callback = function(event)
        self:claim(event.event == "WinEnter" or event.event == "FocusGained")
      end,
    }
  )
  vim.api.nvim_create_autocmd("BufWipeout", {
    callback = function(event)
      if event.buf ~= self.buf then
        return
      end
      vim.api.nvim_del_autocmd(sizes)
      for _, off in ipairs(offs) do
        off()
      end
      if outputs[key] == self then
        outputs[key] = nil
      end
      -- A daemon that does not run has no subscriptions, and is not started for that.
      if workspace.connection.state == "ready" then
        workspace:request("task/unsubscribe", { id = self.id }, function() end)
      end
      return true
    end,
  })
end

--- Opens the output of a task.
---@param workspace meanwhile.Workspace
---@param id string
---@param opts? { stay?: boolean, win?: integer } stay: the cursor stays where it is; win: shown there
function M.open(workspace, id, opts)
  local before = vim.api.nvim_get_current_win()
  local key = workspace.root .. " " .. id
  local self = outputs[key]
  if not self or not view.whole(self.buf) then
    self = setmetatable({
      workspace = workspace,
      id = id,
      pushed_to = 0,
      from = 0,
      next = 0,
    }, Output)
    self:make()
    self:name()
    outputs[key] = self
    self:follow(key)
  end
  local win = opts and opts.win
  if win then
    vim.api.nvim_win_set_buf(win, self.buf)
    view.plain(win)
  else
    win = view.show(self.buf, config.get().output.open)
  end
  self:bar()
  if not self.channel then
    vim.api.nvim_win_call(win, function()
      self:terminal()
    end)
    self:start()
  end
  self:claim(true)
  workspace.seen_failures = 0
  -- The end, and it follows.
  vim.api.nvim_win_call(win, function()
    vim.cmd("normal! G0")
  end)
  if opts and opts.stay and vim.api.nvim_win_is_valid(before) then
    vim.api.nvim_set_current_win(before)
  end
end

--- Where the output of a task is shown, that of another takes its place: it was started again.
---@param workspace meanwhile.Workspace
---@param old string
---@param new string
function M.replace(workspace, old, new)
  local self = outputs[workspace.root .. " " .. old]
  for _, win in ipairs(self and vim.fn.win_findbuf(self.buf) or {}) do
    M.open(workspace, new, { win = win })
  end
end

return M
