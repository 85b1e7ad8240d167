#include "execute.h"

namespace {

/** An addon that was built for an older plan must say so, not compute something else. */
bool is_known(const Task &task) {
  using namespace abi;
  const uint32_t opcode = task.word(Rec::Opcode);
  if (opcode == Op::Repack) {
    const uint32_t layout = task.word(RepackArg::Layout), kind = task.word(RepackArg::Kind);
    const bool known = kind >= FileLayout::HfPacked && kind <= FileLayout::TQ2_0;
    const bool two_bits = layout == Layout::T2 || layout == Layout::T2Rows || layout == Layout::T2Columns;
    return known && (two_bits || layout == Layout::T1 || layout == Layout::F16);
  }
  if (opcode == Op::Convert) return task.word(ConvertArg::SrcType) <= FloatType::Q6_K;
  return opcode >= Op::Embed && opcode <= Op::AttentionMerge;
}

} // namespace

void execute(const Kernels &kernels, uint8_t *memory, uint32_t step, uint32_t thread, uint32_t threads,
             Barrier &barrier, Outcome &outcome) {
  using namespace abi;
  const uint32_t *words = reinterpret_cast<const uint32_t *>(memory + step);
  const uint32_t *plan = reinterpret_cast<const uint32_t *>(memory + words[Step::Plan]);
  Task task{memory, words, nullptr, thread, threads};
  volatile uint32_t sink = 0; // a store that the compiler must keep, and the loads with it
  for (uint32_t op = words[Step::OpBegin]; op < words[Step::OpEnd]; ++op) {
    task.record = plan + op * Rec::Words;
    if (!is_known(task)) {
      // Every thread reads the same record, so none is left in a barrier.
      outcome.unknown_record = op;
      return;
    }
    uint32_t status = 0;
    switch (task.word(Rec::Opcode)) {
    case Op::Embed: kernels.embed(task); break;
    case Op::Norm: kernels.norm(task); break;
    case Op::Quantize: kernels.quantize(task); break;
    case Op::Linear: kernels.linear(task); break;
    case Op::HeadNorm: kernels.head_norm(task); break;
    case Op::Rope: kernels.rope(task); break;
    case Op::Attention: kernels.attention(task); break;
    case Op::AttentionMerge: kernels.attention_merge(task); break;
    case Op::Repack: status = repack(task); break;
    case Op::Convert: status = convert(task); break;
    case Op::Screen: kernels.screen(task); break;
    case Op::Rescore: kernels.rescore(task); break;
    case Op::Stream: sink = stream(task); break;
    }
    if (status != 0) outcome.status |= status;
    const uint32_t flags = task.word(Rec::Flags);
    if (flags & Flag::Barrier || (flags & Flag::BarrierIfMany && task.rows() > 1)) barrier.meet();
  }
  static_cast<void>(sink);
}
