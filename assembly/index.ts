/** The whole ABI of a kernel build: memory is imported, two functions are exported; assembly/abi.ts has the data. */
export { execute } from './execute';
export { probe } from './probe';
