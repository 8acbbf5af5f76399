--- `:Meanwhile learn`: `meanwhile learn`, in a terminal buffer of its own.

local binary = require("meanwhile.binary")
local config = require("meanwhile.config")
local tell = require("meanwhile.tell")

local M = {}

--- Opens `meanwhile learn` in a new tab, and types into it. The tab closes when the program ends.
---@param chapter? string where to begin
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
        -- What it says where it cannot run is to be read.
        if (code == 0 or code == 130) and vim.api.nvim_buf_is_valid(buffer) then
          vim.api.nvim_buf_delete(buffer, { force = true })
        end
      end,
    })
    vim.cmd.startinsert()
  end)
end

return M
