--- `:Meanwhile learn`: runs `meanwhile learn` in a terminal buffer.

local binary = require("meanwhile.binary")
local config = require("meanwhile.config")
local tell = require("meanwhile.tell")

local M = {}

--- Opens `meanwhile learn` in a new tab, in terminal mode. The tab closes when the program exits.
---@param chapter? string the chapter to start with
function M.open(chapter)
  binary.resolve(config.get().binary, function(found, problem)
    if not found then
      return tell.fault(problem --[[@as string]])
    end
    local command = { found.path, "learn" }
    if chapter then
      vim.list_extend(command, { "--chapter", chapter })
    end
    vim.cmd.tabnew()
    local buffer = vim.api.nvim_get_current_buf()
    vim.bo[buffer].bufhidden = "wipe"
    vim.fn.jobstart(command, {
      term = true,
      on_exit = function(_, code)
        -- After an error keep the buffer, so that the person can read the message.
        if (code == 0 or code == 130) and vim.api.nvim_buf_is_valid(buffer) then
          vim.api.nvim_buf_delete(buffer, { force = true })
        end
      end,
    })
    vim.cmd.startinsert()
  end)
end

return M
