"""A folder with a folder of pictures for each class."""

from pathlib import Path


class ImageFolder:
    """`samples`: (path, class number) of each picture; `classes`: the names of the folders, sorted."""

    def __init__(self, root: str, **options: object) -> None:
        self.root = root
        self.classes = sorted(folder.name for folder in Path(root).iterdir() if folder.is_dir())
        self.class_to_idx = {name: number for number, name in enumerate(self.classes)}
        self.samples = [
            (str(picture), number)
            for name, number in self.class_to_idx.items()
            for picture in sorted(Path(root, name).iterdir())
        ]
        self.imgs, self.targets = self.samples, [number for _, number in self.samples]
