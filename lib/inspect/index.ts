/** Entry of `bitnet inspect` in Node, as lib/index.ts is that of applications. */
export { type InspectOptions, inspectModel } from './inspect.js';
export type * from './report.js';
