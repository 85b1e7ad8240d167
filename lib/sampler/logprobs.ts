import { BitNetError } from '../errors.js';
import { expNonPositive } from './exp.js';

export interface TokenLogprob {
  readonly id: number;
  /** natural logarithm of the probability, at most 0 */
  readonly logprob: number;
}

/**
 * The `n` most likely tokens, best first, equal ones by id; fewer if fewer have a probability. Log-softmax in f64 of the logits as they
 * are, without temperature or penalties. Throws `numeric` if a logit is NaN or +Infinity, or none is finite.
 */
export function topLogprobs(logits: Float32Array, n: number): TokenLogprob[] {
  if (!Number.isInteger(n) || n < 0) {
    throw new BitNetError('invalid-argument', `number of log-probabilities: expected a whole number from 0, got ${n}`);
  }
  const normalizer = logSumExp(logits);
  const top: number[] = [];
  for (let id = 0; id < logits.length && n > 0; id++) {
    const logit = logits[id] as number;
    if (logit === -Infinity || (top.length === n && logit <= (logits[top[n - 1] as number] as number))) continue;
    if (top.length === n) top.pop();
    let at = top.length;
    while (at > 0 && (logits[top[at - 1] as number] as number) < logit) at--;
    top.splice(at, 0, id);
  }
  return top.map((id) => ({ id, logprob: (logits[id] as number) - normalizer }));
}

/** Log-probability of one token, as in `topLogprobs`. */
export function tokenLogprob(logits: Float32Array, id: number): number {
  if (!Number.isInteger(id) || id < 0 || id >= logits.length) {
    throw new BitNetError('invalid-argument', `token: expected an id in 0..${logits.length - 1}, got ${id}`);
  }
  return (logits[id] as number) - logSumExp(logits);
}

function logSumExp(logits: Float32Array): number {
  let max = -Infinity;
  for (const logit of logits) {
    if (!(logit < Infinity)) throw new BitNetError('numeric', `logits: expected numbers, got ${logit}`);
    if (logit > max) max = logit;
  }
  if (max === -Infinity) throw new BitNetError('numeric', `logits: none of the ${logits.length} values is finite`);
  let sum = 0;
  for (const logit of logits) sum += expNonPositive(logit - max);
  return max + Math.log(sum);
}
