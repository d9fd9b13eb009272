"""A window that shows each picture after detection. It uses Python's tkinter, because the OpenCV used here has no windows."""

from __future__ import annotations

import base64
from typing import Any

import cv2

from slimyolo.errors import ConfigError
from slimyolo.inference.pictures import ImageArray

__all__ = ["PictureWindow", "open_window"]

NO_WINDOW = "Leave --show out and look at the pictures in the run folder, or use `slimyolo serve` with a browser."


def open_window(title: str) -> PictureWindow:
    """A new window. Raises `ConfigError` when there is no display, or when Python comes without tkinter."""
    try:
        import tkinter
    except ImportError:
        raise ConfigError(
            "--show needs tkinter, which this Python lacks (on Debian and Ubuntu: apt install python3-tk). " + NO_WINDOW
        ) from None
    try:
        root = tkinter.Tk(className="slimyolo")
    except tkinter.TclError as error:
        raise ConfigError(f"--show needs a display, and there is none here ({error}). {NO_WINDOW}") from None
    root.title(title)
    return PictureWindow(root, tkinter.Label(root, borderwidth=0), tkinter.PhotoImage)


class PictureWindow:
    """Shows one picture after another, scaled down to the screen. The keys q and Escape close it."""

    def __init__(self, root: Any, label: Any, photo: Any) -> None:
        self._root, self._label, self._photo = root, label, photo
        self._shown: Any = None
        self.closed = False
        root.protocol("WM_DELETE_WINDOW", self._on_close)
        for key in ("q", "<Escape>"):
            root.bind(key, lambda _: self._on_close())
        label.pack()

    def show(self, image: ImageArray) -> None:
        """Show `image` (BGR) now. Does nothing when the window is closed."""
        if self.closed:
            return
        limit = 0.9 * min(
            self._root.winfo_screenwidth() / image.shape[1], self._root.winfo_screenheight() / image.shape[0]
        )
        if limit < 1:
            image = cv2.resize(image, None, fx=limit, fy=limit, interpolation=cv2.INTER_AREA)
        content = base64.b64encode(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes())
        self._shown = self._photo(data=content)  # stored, because Tk drops a picture to which nobody holds a reference
        self._label.configure(image=self._shown)
        self._root.update()

    def wait(self) -> None:
        """Wait until the user closes the window."""
        while not self.closed:
            self._root.update()
            self._root.after(30)

    def _on_close(self) -> None:
        self.closed = True
        self._root.destroy()
