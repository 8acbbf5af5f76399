--- Requests for permission: shown one after the other, in a window between the transcript and the prompt.
--- Only the agent waits for the answer; the person can work elsewhere and come back.

local review = require("meanwhile.ui.review")
local tell = require("meanwhile.tell")
local view = require("meanwhile.ui.view")

local M = {}

---@class meanwhile.Ask
---@field params table
---@field answer fun(response: table)
---@field done boolean
---@field met boolean whether the cursor has been moved to it
---@field from? integer the window that the cursor was in before
---@field chat? integer the buffer of the chat that shows it
---@field review? meanwhile.Review

---@type table<string, meanwhile.Ask[]> by session
local waiting = {}
---@type { buf: integer, ask: meanwhile.Ask }? the question on the screen
local shown

--- Returns the unanswered requests of a session.
---@param session string
---@return meanwhile.Ask[]
function M.waiting(session)
  return vim.tbl_filter(function(ask)
    return not ask.done
  end, waiting[session] or {})
end

--- Closes the window of the question and moves the cursor back.
---@param ask meanwhile.Ask
local function close(ask)
  if shown and shown.ask == ask then
    local buf = shown.buf
    shown = nil
    if vim.api.nvim_buf_is_valid(buf) then
      local here = vim.api.nvim_get_current_buf() == buf
      view.close(buf)
      vim.api.nvim_buf_delete(buf, { force = true })
      if here and ask.from and vim.api.nvim_win_is_valid(ask.from) then
        vim.api.nvim_set_current_win(ask.from)
      end
    end
  end
end

---@param ask meanwhile.Ask
---@param response table
local function answer(ask, response)
  if ask.done then
    return
  end
  ask.done = true
  close(ask)
  if ask.review then
    ask.review:close()
  end
  ask.answer(response)
end

--- Cancels all waiting requests of a session.
---@param session string
function M.cancel(session)
  for _, ask in ipairs(waiting[session] or {}) do
    answer(ask, { outcome = { outcome = "cancelled" } })
  end
  waiting[session] = nil
end

--- Withdraws a request whose turn was cancelled or that another client has answered.
---@param request string the id of the request
function M.withdraw(request)
  for _, asks in pairs(waiting) do
    for _, ask in ipairs(asks) do
      if vim.tbl_get(ask.params, "_meta", "meanwhile", "request") == request then
        answer(ask, { outcome = { outcome = "cancelled" } })
      end
    end
  end
end

--- The question in one line, starting with a verb.
---@param params table
---@return string
function M.question(params)
  local call = params.toolCall or {}
  local what = vim.tbl_get(params, "_meta", "meanwhile", "question") or call.title or "call a tool"
  local command = type(call.rawInput) == "table" and call.rawInput.command
  if type(command) == "string" and not what:find(command, 1, true) then
    what = what .. ": " .. command
  end
  return require("meanwhile.format").one_line(what)
end

--- Answers with an option. If it allows a change that the person has edited, sends the edited text.
---@param ask meanwhile.Ask
---@param option table
local function choose(ask, option)
  local response = { outcome = { outcome = "selected", optionId = option.optionId } }
  local text = ask.review and option.kind:match("^allow") and ask.review:changed()
  if text then
    response._meta = { meanwhile = { edit = { newText = text } } }
  end
  answer(ask, response)
  M.next(ask.params.sessionId, ask.chat, true)
end

--- Shows the proposed change as a diff, in which the person can edit it.
---@param ask meanwhile.Ask
local function look(ask)
  local change = review.of(ask.params)
  if not change then
    return tell.info("this is not a change to a file: answer with a number and <CR>")
  end
  -- If the person has unloaded the diff, open it again with the original proposal.
  if ask.review and not view.whole(ask.review.proposed) then
    ask.review:close()
    ask.review = nil
  end
  ask.review = ask.review
    or review.new(change, function()
      choose(ask, ask.params.options[1])
    end)
  ask.review:show()
end

---@param ask meanwhile.Ask
---@return string[] lines
---@return meanwhile.Span[] spans
---@return integer[] options the line of each option
local function drawn(ask)
  local lines = { " May the agent " .. M.question(ask.params) .. "?" }
  local spans = { { 0, 0, -1, "MeanwhileTitle" } }
  local options = {}
  for _, content in ipairs(vim.tbl_get(ask.params, "toolCall", "content") or {}) do
    local text = vim.tbl_get(content, "content", "text")
    if text then
      table.insert(lines, " " .. require("meanwhile.format").one_line(text))
      table.insert(spans, { #lines - 1, 0, -1, "MeanwhileDim" })
    end
  end
  -- Effects that the diff does not show.
  for _, text in ipairs(vim.tbl_get(ask.params, "_meta", "meanwhile", "unseen") or {}) do
    table.insert(lines, " " .. text)
    table.insert(spans, { #lines - 1, 0, -1, "MeanwhileNotice" })
  end
  for i, option in ipairs(ask.params.options or {}) do
    table.insert(lines, ("   %d  %s"):format(i, option.name))
    table.insert(spans, { #lines - 1, 3, 4, "MeanwhileLabel" })
    options[i] = #lines
  end
  return lines, spans, options
end

--- Shows the question in a window below another one.
---@param ask meanwhile.Ask
---@param above integer
local function show(ask, above)
  local buf = view.scratch("meanwhile://question", "meanwhile-question")
  local lines, spans, options = drawn(ask)
  view.render(buf, lines, spans)
  shown = { buf = buf, ask = ask }
  local function take()
    local option = vim.fn.index(options, vim.fn.line("."))
    if option >= 0 then
      return choose(ask, ask.params.options[option + 1])
    end
    tell.info("not answered: choose a line below")
  end
  local function later()
    close(ask)
    tell.info("the agent waits for your answer (p in the chat asks again)")
  end
  local keys = {
    { "<CR>", take, "answer with the line under the cursor" },
    {
      "d",
      function()
        look(ask)
      end,
      "look at the change, and allow a part of it",
    },
    { "q", later, "decide later" },
  }
  for i, line in ipairs(options) do
    local function go()
      vim.api.nvim_win_set_cursor(0, { line, 0 })
    end
    table.insert(keys, { tostring(i), go, "go to: " .. ask.params.options[i].name })
  end
  view.map(buf, "The agent asks", nil, keys, { close = false })
  local win = vim.api.nvim_open_win(buf, false, { split = "below", win = above })
  view.plain(win)
  vim.api.nvim_win_set_height(win, view.wrap(win) + 1)
  vim.wo[win].cursorline = true
  vim.wo[win].winfixheight = true
  local number = #M.waiting(ask.params.sessionId)
  local more = number > 1 and (" (1 of %d)"):format(number) or ""
  local diff = review.of(ask.params) and ", d shows the change" or ""
  view.bar(buf, "the agent asks" .. more .. ": answer with a number and <CR>" .. diff)
end

--- Shows the next question, if the chat is visible.
---@param session string
---@param chat integer the buffer of the transcript
---@param ready boolean whether the person is in the chat and not typing
---@param again? boolean whether the person asked for it
function M.next(session, chat, ready, again)
  local ask = M.waiting(session)[1]
  local above = vim.fn.bufwinid(chat)
  if not ask or above == -1 then
    return
  end
  ask.chat = chat
  local there = shown and shown.ask == ask and vim.fn.bufwinid(shown.buf) ~= -1
  if not there and (again or not ask.met) then
    if shown then
      close(shown.ask)
    end
    show(ask, above)
  end
  if ready and shown and (again or not ask.met) then
    ask.met, ask.from = true, vim.api.nvim_get_current_win()
    vim.api.nvim_set_current_win(vim.fn.bufwinid(shown.buf))
  end
end

--- Adds a request. Must run in a coroutine, which continues once the request is answered.
---@param params table
---@param arrived fun() called once the request is in the list
---@return table response
function M.request(params, arrived)
  local co = assert(coroutine.running(), "a request is answered in a coroutine")
  local ask = { params = params, done = false, met = false }
  local early
  ask.answer = function(response)
    if coroutine.status(co) == "suspended" then
      coroutine.resume(co, response)
    else
      early = response
    end
  end
  waiting[params.sessionId] = M.waiting(params.sessionId)
  table.insert(waiting[params.sessionId], ask)
  arrived()
  return early or coroutine.yield()
end

return M
