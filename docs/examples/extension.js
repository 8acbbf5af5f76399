const { window } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

const server = { command: "meanwhile", args: ["serve"] };
const client = new LanguageClient("meanwhile", server, { documentSelector: [] });

exports.activate = async () => {
  client.onNotification("task/exited", ({ notification: { task } }) =>
    window.showInformationMessage(`${task.command}: ${task.state}, exit code ${task.exit.code}`));
  await client.start(); // from here on: commands.executeCommand("meanwhile.spawn", { command: "make" })
};
exports.deactivate = () => client.stop();
