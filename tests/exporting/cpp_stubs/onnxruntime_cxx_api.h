// Stand-in for ONNX Runtime's header: declares what detect.cpp uses, with the real names and signatures. Session::Run
// keeps its input in input.raw and gives back what lies in the "model" file: three sizes, then the values, as floats.
#pragma once
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

enum OrtLoggingLevel { ORT_LOGGING_LEVEL_WARNING };
enum OrtAllocatorType { OrtArenaAllocator };
enum OrtMemType { OrtMemTypeDefault };

namespace Ort {
struct Env {
  Env(OrtLoggingLevel, const char*) {}
};
struct SessionOptions {};
struct RunOptions {
  explicit RunOptions(std::nullptr_t) {}
};
struct MemoryInfo {
  static MemoryInfo CreateCpu(OrtAllocatorType, OrtMemType) { return {}; }
};
struct TensorTypeAndShapeInfo {
  std::vector<int64_t> shape;
  std::vector<int64_t> GetShape() const { return shape; }
};
struct Value {
  std::vector<float> values;
  std::vector<int64_t> shape;
  template <typename T>
  static Value CreateTensor(const MemoryInfo&, T* data, std::size_t count, const int64_t* sizes, std::size_t axes) {
    return {std::vector<float>(data, data + count), std::vector<int64_t>(sizes, sizes + axes)};
  }
  TensorTypeAndShapeInfo GetTensorTypeAndShapeInfo() const { return {shape}; }
  template <typename T>
  T* GetTensorMutableData() {
    return values.data();
  }
};
struct Session {
  std::string path;
  Session(const Env&, const char* model, const SessionOptions&) : path(model) {}
  std::vector<Value> Run(const RunOptions&, const char* const*, const Value* inputs, std::size_t, const char* const*,
                         std::size_t) {
    std::ofstream kept("input.raw", std::ios::binary);
    kept.write(reinterpret_cast<const char*>(inputs[0].values.data()), inputs[0].values.size() * sizeof(float));
    std::ifstream file(path, std::ios::binary);
    float sizes[3];
    if (!file.read(reinterpret_cast<char*>(sizes), sizeof sizes)) throw std::runtime_error("no output");
    Value result{{}, {int64_t(sizes[0]), int64_t(sizes[1]), int64_t(sizes[2])}};
    result.values.resize(std::size_t(sizes[0] * sizes[1] * sizes[2]));
    file.read(reinterpret_cast<char*>(result.values.data()), result.values.size() * sizeof(float));
    return {result};
  }
};
}  // namespace Ort
