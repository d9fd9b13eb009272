// Stand-in for OpenCV's header: declares what detect.cpp uses. imread reads floats: height, width, then BGR values.
#pragma once
#include <fstream>
#include <string>
#include <vector>

namespace cv {
enum { IMREAD_COLOR = 1, INTER_LINEAR = 1 };
struct Size {
  int width, height;
  Size(int w, int h) : width(w), height(h) {}
};
struct Point {
  int x, y;
  Point(int px, int py) : x(px), y(py) {}
};
struct Scalar {
  Scalar(double, double, double) {}
};
struct Mat {
  int rows = 0, cols = 0;
  std::vector<unsigned char> values;
  bool empty() const { return values.empty(); }
  template <typename T>
  const T* ptr(int row) const {
    return values.data() + std::size_t(row) * cols * 3;
  }
};
inline Mat imread(const std::string& path, int) {
  std::ifstream file(path, std::ios::binary);
  float sizes[2];
  Mat image;
  if (!file.read(reinterpret_cast<char*>(sizes), sizeof sizes)) return image;
  image.rows = int(sizes[0]);
  image.cols = int(sizes[1]);
  std::vector<float> read(std::size_t(image.rows) * image.cols * 3);
  file.read(reinterpret_cast<char*>(read.data()), read.size() * sizeof(float));
  image.values.assign(read.begin(), read.end());
  return image;
}
inline void resize(const Mat& from, Mat& to, Size, double, double, int) { to = from; }
inline void rectangle(Mat&, Point, Point, Scalar, int) {}
inline bool imwrite(const std::string&, const Mat&) { return true; }
}  // namespace cv
