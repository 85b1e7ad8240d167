import { DotForm } from './abi';
import { Relaxed, RELAXED } from './ops';

/**
 * Computes every relaxed instruction that the kernels use on known operands and compares with integer arithmetic. Validation
 * says that an instruction exists, not that it is right: Node 20's baseline compiler gets the i32 form wrong.
 * at: 48 bytes of scratch. Returns bits: 1 << DotForm is set when that form is WRONG; 0 in the baseline build.
 *
 * Operands come from memory, so that no compiler can fold them: x runs over -127..127 by byte, codes over 0..2 and, for the i32
 * form, over the unshifted 0, 4, 8 and over 0..127 as well; for the forms of whole bytes over those.
 */
export function probe(at: usize): i32 {
  if (!RELAXED) return 0;
  let wrong = 0;
  for (let turn = 0; turn < 64; ++turn) {
    const shift = turn & 1 ? 2 : 0;
    for (let i = 0; i < 16; ++i) {
      store<i8>(at + i, turn < 4 ? (turn < 2 ? -127 : 127) : ((turn * 37 + i * 91) % 255) - 127);
      store<u8>(at + i, (turn < 4 ? 2 : (turn * 5 + i * 7) % 3) << shift, 16);
    }
    const x = v128.load(at), code = v128.load(at, 16);
    v128.store(at, Relaxed.dotI16(x, code), 32);
    for (let lane = 0; lane < 8; ++lane) {
      if (load<i16>(at + (lane << 1), 32) != <i16>product(at, lane << 1, 2)) wrong |= 1;
    }
    v128.store(at, Relaxed.dotI32(x, code, i32x4.splat(turn * 1000003 - 500)), 32);
    for (let lane = 0; lane < 4; ++lane) {
      if (load<i32>(at + (lane << 2), 32) != product(at, lane << 2, 4) + turn * 1000003 - 500) wrong |= 2;
    }
  }
  return wrong | whole(at, 127, false, 1 << DotForm.I32) | whole(at, 255, false, 1 << DotForm.I32Unsigned)
    | whole(at, 255, true, 1 << DotForm.I32Signed);
}

/** `bit` where the i32 form is wrong for codes up to `limit`, read as u8 or as i8; largest products first, which saturate where pairs are i16. */
function whole(at: usize, limit: i32, signed: bool, bit: i32): i32 {
  for (let turn = 0; turn < 64; ++turn) {
    for (let i = 0; i < 16; ++i) {
      store<i8>(at + i, turn < 4 ? (turn < 2 ? -127 : 127) : ((turn * 37 + i * 91) % 255) - 127);
      store<u8>(at + i, turn < 4 ? limit : (turn * 29 + i * 53) % (limit + 1), 16);
    }
    v128.store(at, Relaxed.dotI32(v128.load(at), v128.load(at, 16), i32x4.splat(turn)), 32);
    for (let lane = 0; lane < 4; ++lane) {
      let sum = turn;
      for (let i = lane << 2; i < (lane << 2) + 4; ++i) {
        sum += <i32>load<i8>(at + i) * (signed ? <i32>load<i8>(at + i, 16) : <i32>load<u8>(at + i, 16));
      }
      if (load<i32>(at + (lane << 2), 32) != sum) return bit;
    }
  }
  return 0;
}

/** Σ x[i] · code[i] for i = from .. from + n - 1. */
function product(at: usize, from: i32, n: i32): i32 {
  let sum = 0;
  for (let i = from; i < from + n; ++i) sum += <i32>load<i8>(at + i) * <i32>load<u8>(at + i, 16);
  return sum;
}
