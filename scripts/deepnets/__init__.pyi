from deepnets.evaluation.predictor import Model as Model
from deepnets.evaluation.predictor import Prediction as Prediction
from deepnets.evaluation.predictor import load as load
