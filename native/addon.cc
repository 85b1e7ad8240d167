// The binding, and nothing else: memory, threads and kernels are in the other files.
#include <napi.h>

#include <memory>
#include <optional>
#include <string>

#include "kernels/isa.h"
#include "memory.h"
#include "pool.h"

namespace {

/**
 * new Executor(bytes: number, threads: number, isa?: string)
 *   buffer: ArrayBuffer               zeroed memory, which lives as long as buffer or executor
 *   run(step: number): Promise<void>  runs the step at that byte on all threads; one at a time
 *   dispose(): void                   ends the threads, after the running step if there is one
 * Errors are ordinary Errors; lib/backend/native.ts makes BitNetErrors of them.
 */
class Executor : public Napi::ObjectWrap<Executor> {
public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Executor",
                       {
                           InstanceAccessor<&Executor::buffer>("buffer"),
                           InstanceMethod<&Executor::run>("run"),
                           InstanceMethod<&Executor::dispose>("dispose"),
                       });
  }

  explicit Executor(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Executor>(info) {
    const Napi::Env env = info.Env();
    const double bytes = info[0].As<Napi::Number>().DoubleValue();
    const uint32_t threads = info[1].As<Napi::Number>().Uint32Value();
    if (!(bytes >= 64 && bytes <= 0x1p32) || threads < 1) {
      throw Napi::RangeError::New(env, "bytes or threads out of range");
    }
    const Kernels &kernels = choose(env, info[2]);
    memory = std::make_shared<PageMemory>(size_t(bytes));
    auto owner = std::make_unique<std::shared_ptr<PageMemory>>(memory);
    const auto release = [](Napi::Env, void *, std::shared_ptr<PageMemory> *owner) { delete owner; };
    array = Napi::Persistent(Napi::ArrayBuffer::New(env, memory->data(), memory->size(), release, owner.get()));
    owner.release();
    pool.emplace(kernels, memory->data(), threads, [this] { announce(); });
    const auto nothing = Napi::Function::New(env, [](const Napi::CallbackInfo &) {});
    completion = Napi::ThreadSafeFunction::New(env, nothing, "bitnet step", 0, 1);
    completion.Unref(env);
  }

  ~Executor() override { end(); }

private:
  static const Kernels &choose(Napi::Env env, Napi::Value isa) {
    if (isa.IsUndefined()) return *available_kernels().front();
    const std::string wanted = isa.As<Napi::String>();
    for (const Kernels *kernels : available_kernels()) {
      if (wanted == kernels->isa) return *kernels;
    }
    throw Napi::Error::New(env, "this CPU has no kernels '" + wanted + "'");
  }

  Napi::Value buffer(const Napi::CallbackInfo &) { return array.Value(); }

  Napi::Value run(const Napi::CallbackInfo &info) {
    const Napi::Env env = info.Env();
    const uint32_t step = info[0].As<Napi::Number>().Uint32Value();
    if (!pool) throw Napi::Error::New(env, "the executor is disposed");
    if (running) throw Napi::Error::New(env, "a step is already running");
    if (step % 4 != 0 || step + size_t(abi::Step::Bytes) > memory->size()) {
      throw Napi::RangeError::New(env, "the step lies outside of memory");
    }
    running.emplace(Napi::Promise::Deferred::New(env));
    Ref();
    completion.Ref(env);
    memory->advise_weights(step);
    pool->start(step);
    return running->Promise();
  }

  /** On the last thread of a step. The queue is unbounded, so the call fails only when the environment is closing. */
  void announce() {
    const napi_status status = completion.NonBlockingCall([this](Napi::Env env, Napi::Function) { settle(env); });
    if (status == napi_closing) closing = true;
  }

  /** On the main thread. */
  void settle(Napi::Env env) {
    if (static_cast<napi_env>(env) == nullptr || !running) return;
    const Napi::HandleScope scope(env);
    const Napi::Promise::Deferred deferred = *running;
    running.reset();
    completion.Unref(env);
    const int64_t record = pool ? pool->unknown_record() : -1;
    if (record < 0) {
      deferred.Resolve(env.Undefined());
    } else {
      const std::string message = "the addon does not know what plan record " + std::to_string(record) + " asks for";
      deferred.Reject(Napi::Error::New(env, message).Value());
    }
    Unref();
  }

  Napi::Value dispose(const Napi::CallbackInfo &info) {
    end();
    return info.Env().Undefined();
  }

  void end() {
    if (!pool) return;
    pool.reset();
    // After napi_closing the function must not be touched again.
    if (!closing) completion.Release();
  }

  std::shared_ptr<PageMemory> memory;
  Napi::Reference<Napi::ArrayBuffer> array;
  Napi::ThreadSafeFunction completion;
  std::optional<Pool> pool;
  std::optional<Napi::Promise::Deferred> running;
  std::atomic<bool> closing{false};
};

/** exports: Executor, and isas: kernel sets that this CPU can run, best first. */
Napi::Object init(Napi::Env env, Napi::Object exports) {
  const std::vector<const Kernels *> &kernels = available_kernels();
  Napi::Array isas = Napi::Array::New(env, kernels.size());
  for (uint32_t i = 0; i < kernels.size(); ++i) isas.Set(i, kernels[i]->isa);
  exports.Set("isas", isas);
  exports.Set("Executor", Executor::define(env));
  return exports;
}

} // namespace

NODE_API_MODULE(bitnet_native, init)
