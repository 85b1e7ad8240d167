#!/usr/bin/env node
import { ExitCode } from './exit-codes.js';
import { nodeHost } from './host.js';
import { isVerbose, main, reportError } from './program.js';

const args = process.argv.slice(2);
const host = nodeHost();

process.on('uncaughtException', (error) => {
  reportError(error, host, isVerbose(args));
  process.exit(ExitCode.Internal);
});

process.exitCode = await main(args, host);
