"""The functions of dgaug and where each is; `__init__.py` imports one when it is first used."""

from dgaug.memory import keep_freed_memory as keep_freed_memory
from dgaug.models.export_encoder import export_encoder as export_encoder
from dgaug.models.import_network import import_network as import_network
from dgaug.models.import_published import import_published as import_published
from dgaug.report.diagnosis import diagnose as diagnose
from dgaug.report.doctor import examine as examine
from dgaug.report.page import report_run as report_run
from dgaug.scores.quality.score import score_fid as score_fid
from dgaug.scores.retrieval.evaluate import evaluate_reid as evaluate_reid
from dgaug.store.read import open_store as open_store
from dgaug.store.verify import verify as verify
from dgaug.studies.ablation import ablate as ablate
from dgaug.studies.judged_export import export_merged as export_merged
from dgaug.studies.judged_export import export_store as export_store
from dgaug.studies.learning_curve import study as study
from dgaug.studies.mixed import collate_mixed as collate_mixed
from dgaug.studies.mixed import mixed_dataset as mixed_dataset
from dgaug.studies.train_reid import train_reid as train_reid
from dgaug.synthesis.draw import draw_grid as draw_grid
from dgaug.synthesis.draw import interpolate as interpolate
from dgaug.synthesis.draw import swap as swap
from dgaug.synthesis.job import synthesize as synthesize
from dgaug.training.planner import plan_training as plan_training
from dgaug.training.train import train as train

__version__: str
