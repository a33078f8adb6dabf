"""Two photos: are the two people kin, and what does SwinFace predict for each face?

    pip install 'kinface[photos]'                        finds the faces
    python recipes/photo.py mother.jpg daughter.jpg
    python recipes/photo.py --aligned a.png b.png        images that are aligned crops, 112 x 112, such as FIW's

The largest face of each photo is used. Both models are released with the package.
"""

import argparse

import kinface
import swinface

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("photos", nargs=2)
parser.add_argument("--aligned", action="store_true")
options = parser.parse_args()

describer = swinface.SwinFace.from_pretrained("shipped")
for photo in options.photos:
    face, *others = swinface.predict(describer, photo, options.aligned)
    seen = [name for name, share in face["attributes"].items() if share > 0.5]
    print(f"{photo}: age {face['age']:.0f}, {face['gender']['label']}, {face['expression']['label']}", *seen, sep=", ")

verifier = kinface.KinFace.from_pretrained("shipped")
answer = verifier.verify(*options.photos, aligned=options.aligned)
verdict = "kin" if answer["kin"] else "not kin"
print(f"{verdict}: score {answer['score']:.3f}, threshold {answer['threshold']:.3f}. {answer['caution']}")
