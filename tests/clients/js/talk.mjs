// Drives matrix-js-sdk from another program: one JSON command a line on stdin, one JSON answer a line on stdout.
//
//   {"id": 7, "do": "sendText", "as": "bob", "with": {...}}
//   {"id": 7, "answer": ...}  or  {"id": 7, "failure": {"message", "errcode", "status"}}
//
// Between the answers stand {"exchange": ...} for each HTTP exchange and {"log": {...}} for each thing that the SDK
// has to warn of.

import "./newer_node.mjs";

import { createInterface } from "node:readline";

const write = (message) => process.stdout.write(JSON.stringify(message) + "\n");
for (const level of ["log", "info", "debug", "trace", "warn", "error"]) {
  console[level] = (...words) => {
    if (level === "warn" || level === "error") write({ log: { level, text: words.map(String).join(" ") } });
  };
}

const { Device } = await import("./device.mjs");

const devices = new Map();

async function obey(command) {
  if (command.do === "open") {
    devices.set(command.as, new Device(command.as, command.with, (exchange) => write({ exchange })));
    return null;
  }
  const device = devices.get(command.as);
  if (!device) throw new Error(`No device named ${command.as} is open.`);
  const act = Device.prototype[command.do];
  if (typeof act !== "function") throw new Error(`A device cannot ${command.do}.`);
  return (await act.call(device, command.with ?? {})) ?? null;
}

createInterface({ input: process.stdin }).on("line", async (line) => {
  const command = JSON.parse(line);
  try {
    write({ id: command.id, answer: await obey(command) });
  } catch (failure) {
    const { message, errcode, httpStatus, stack } = failure;
    write({ id: command.id, failure: { message: String(message ?? failure), errcode, status: httpStatus, stack } });
  }
}).on("close", () => process.exit(0));

process.on("unhandledRejection", (reason) => write({ log: { level: "unhandled", text: String(reason?.stack ?? reason) } }));
